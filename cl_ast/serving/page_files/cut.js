// Cuts events out of scores as `cl-ast events` does: an event reaches `on`, ends where the score falls below `off`,
// and is joined to the next one where less than a gap lies between.

const BELOW_ON = 0.15, LITTLE = 1e-9;

export const LEAST_ON = 0.2; // below 0.05 the service leaves scores out

export function cut(scores, on = null) {
	const found = [];
	for (const { task, label, on: usual, runs } of scores.classes) {
		for (const [begin, values] of runs) {
			for (const [first, stop] of regions(values, on ?? usual, scores.gap)) {
				if ((stop - first) * scores.step < scores.min_duration - LITTLE) continue;
				const part = values.slice(first, stop), [start, end] = times(scores, begin + first, begin + stop);
				found.push({ id: `${task} ${label} ${begin + first}`, task, label, start, end, score: Math.max(...part) });
			}
		}
	}
	return found.sort((a, b) => a.start - b.start || a.end - b.end);
}

export const unknownParts = (scores) => scores.unknown.map((part) => times(scores, ...part)).map(([start, end]) => ({ start, end }));

const times = ({ step, seconds }, first, stop) => [first * step, Math.min(stop * step, seconds)];

function regions(values, on, gap) {
	const found = [], off = on - BELOW_ON - LITTLE;
	for (let first = 0, stop; first < values.length; first = stop + 1) {
		let reached = false;
		for (stop = first; values[stop] >= off; stop++) reached ||= values[stop] >= on;
		const last = found.at(-1);
		if (reached && last && first - last[1] < gap) last[1] = stop;
		else if (reached) found.push([first, stop]);
	}
	return found;
}
