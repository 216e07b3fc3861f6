// What a clip is: its task, or that none fits, and its labels as bars.

import { el, percent } from "./dom.js";

export function answerOf({ known, labels, tags, task, ...result }) {
	const best = tags ? tags.join(", ") || "no tag" : labels[0].label;
	const said = known ? verdict(best, task + near(task, result)) : verdict(null, `no task fits; the nearest is ${task}${near(task, result)}`);
	return [said, bars(labels)];
}

// What it is, or null where that is unknown.
export function verdict(label, detail) {
	return el(label === null ? "p.verdict.unknown" : "p.verdict", el("strong", label ?? "unknown"), el("span.soft", ` ${detail}`));
}

const near = (task, { task_score, tasks }) => !tasks ? "" : ` ${percent(task_score)}` +
	tasks.filter((one) => one.task !== task && one.score >= 0.01).map((one) => ` · ${one.task} ${percent(one.score)}`).join("");

export function bars(labels) {
	return el("table.bars", el("caption.sr", "Labels"),
		el("tbody", ...labels.map(({ label, score }) => {
			const fill = el("i");
			fill.style.width = `${100 * score}%`;
			return el("tr", el("th", { scope: "row" }, label), el("td", { "aria-hidden": "true" }, el("span.meter", fill)), el("td.n", percent(score)));
		})));
}
