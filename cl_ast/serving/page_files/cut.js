// Cuts events out of the scores of a recording, as `cl-ast events` does: an event begins where the score of a class
// reaches `on`, ends where it falls below `off`, and is joined to the next one where less than a gap lies between.

const BELOW_ON = 0.15;

export const LEAST_ON = 0.2; // lower, and `off` would reach the scores that the service leaves out

export function cut(scores, on = null) {
	const found = [];
	for (const one of scores.classes) {
		const high = on ?? one.on, low = Math.max(0, high - BELOW_ON);
		for (const [begin, values] of one.runs) {
			for (const region of regions(values, high, low + 1e-9 * (low > 0 ? -1 : 0), scores.gap)) {
				found.push(eventOf(scores, one, begin, values, region));
			}
		}
	}
	return found.filter((one) => one.end - one.start >= scores.min_duration - 1e-9).sort((a, b) => a.start - b.start || a.end - b.end);
}

function regions(values, high, low, gap) {
	const found = [];
	for (let first = 0, stop; first < values.length; first = stop + 1) {
		stop = first;
		let reached = false;
		for (; stop < values.length && values[stop] >= low; stop++) reached ||= values[stop] >= high;
		if (!reached) continue;
		const last = found.at(-1);
		if (last && first - last[1] < gap) last[1] = stop;
		else found.push([first, stop]);
	}
	return found;
}

function eventOf(scores, one, begin, values, [first, stop]) {
	const part = values.slice(first, stop);
	return {
		id: `${one.task} ${one.label} ${begin + first}`,
		task: one.task,
		label: one.label,
		start: (begin + first) * scores.step,
		end: Math.min((begin + stop) * scores.step, scores.seconds),
		score: Math.max(...part),
		mean: part.reduce((sum, value) => sum + value, 0) / part.length,
	};
}

export const unknownParts = (scores) =>
	scores.unknown.map(([first, stop]) => ({ start: first * scores.step, end: Math.min(stop * scores.step, scores.seconds) }));
