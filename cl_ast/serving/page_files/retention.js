// The screen Retention: what later tasks did to earlier ones, as the report shows it.

import * as api from "./api.js";
import { $, el, percent, size } from "./dom.js";

const points = (share) => (share == null ? "–" : (100 * share).toFixed(1));

async function show() {
	const { stats, shown, moments } = await api.json("v1/retention");
	const names = stats.tasks.map((one) => one.name), { matrix, metrics, routing, storage, tag_metrics: tags } = stats;
	if (!names.length) return $("figures").replaceChildren(el("p", "There is no task yet."));
	const after = (mode) => matrix[mode].map((row, at) => [names[at], ...row.map((share, i) => [shown.matrix[mode][at][i], share ?? 0])]);
	const clips = routing.confusion.map((row, at) => [names[at], ...row.map((count) => [count, count / row.reduce((sum, one) => sum + one, 0) || 0])]);
	const overTime = moments.map(({ after, average, forgetting }) => [after, ...[average.oracle, average.auto, forgetting.oracle, forgetting.auto].map((one) => [points(one)])]);
	const both = (title, { oracle, auto }, name) => [title, `${points(oracle[name])} / ${points(auto[name])}`, "by name / routed, in %"];
	const key = [both("average accuracy", metrics, "average_accuracy"), ...(tags ? [both("mAP", tags, "average_mAP")] : []), both("forgetting", metrics, "forgetting"),
		["right task", percent(routing.task_accuracy, 1), "of the clips"], ["storage", size(storage.adapter_bytes), `full copies: ${size(storage.full_copies_bytes)}`]];
	$("figures").replaceChildren(
		el("dl.key", ...key.map(([name, value, unit]) => el("div", el("dt", name), el("dd", value), el("dd.soft", unit)))),
		el("div.two",
			table("Accuracy by name, % or clips", ["after", ...names], after("oracle")),
			table("Accuracy routed, % or clips", ["after", ...names], after("auto")),
			table("Where the router sent clips", ["clips of", ...names], clips),
			table("Average accuracy and forgetting", ["after", "by name", "routed", "forgetting by name", "forgetting routed"], overTime)));
	if (routing.reason) $("figures").append(el("p.note", routing.reason));
}

export const retention = { show };

// A table whose rows are of a name and cells: a text, and perhaps a share by which the cell is coloured.
function table(caption, heads, rows) {
	return el("div.scroll", { tabindex: 0, role: "region", label: caption }, el("table.heat", el("caption", caption),
		el("thead", el("tr", ...heads.map((name) => el("th", { scope: "col" }, name)))),
		el("tbody", ...rows.map(([name, ...cells]) => el("tr", el("th", { scope: "row" }, name), ...cells.map(([text, share = 0]) => {
			const made = el("td", text);
			made.style.setProperty("--share", share);
			return made;
		}))))));
}
