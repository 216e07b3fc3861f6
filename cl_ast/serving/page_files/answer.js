// What a clip is: its task, or that none fits, and its labels as bars.

import { el, percent } from "./dom.js";

export function answerOf(result) {
	const task = result.known
		? el("p", { class: "verdict" }, el("strong", {}, result.labels[0].label), el("span", { class: "soft" }, ` ${result.task}`, near(result)))
		: el("p", { class: "verdict unknown" }, el("strong", {}, "unknown"), el("span", { class: "soft" }, ` no task fits; the nearest is ${result.task}`, near(result)));
	return [task, bars(result.labels, result.known ? "Labels" : `What ${result.task} would say`)];
}

const near = (result) => {
	const others = (result.tasks ?? []).filter((one) => one.task !== result.task && one.score >= 0.01);
	const own = result.tasks ? ` ${percent(result.task_score)}` : "";
	return own + others.map((one) => ` · ${one.task} ${percent(one.score)}`).join("");
};

export function bars(labels, caption) {
	return el("table", { class: "bars" }, el("caption", { class: "sr" }, caption),
		el("tbody", {}, ...labels.map(({ label, score }) => {
			const fill = el("i");
			fill.style.width = percent(score, 1).replace(" ", "");
			return el("tr", {}, el("th", { scope: "row" }, label), el("td", { "aria-hidden": "true" }, el("span", { class: "meter" }, fill)), el("td", { class: "n" }, percent(score)));
		})));
}
