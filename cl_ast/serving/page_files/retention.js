// The screen Retention: what later tasks did to earlier ones, as the report shows it.

import * as api from "./api.js";
import { $, el, percent, size } from "./dom.js";

const points = (share) => (share == null ? "–" : (100 * share).toFixed(1));

async function show() {
	const { stats, shown, moments } = await api.json("v1/retention");
	const names = stats.tasks.map((one) => one.name), { matrix, metrics, routing, storage } = stats;
	if (!names.length) return $("figures").replaceChildren(el("p", "There is no task yet."));
	const after = (mode) => matrix[mode].map((row, at) => [names[at], ...row.map((share, i) => [shown.matrix[mode][at][i], share ?? 0])]);
	const clips = routing.confusion.map((row, at) => [names[at], ...row.map((count) => [count, count / row.reduce((sum, one) => sum + one, 0) || 0])]);
	const overTime = moments.map(({ after, average, forgetting }) => [after, ...[average.oracle, average.auto, forgetting.oracle, forgetting.auto].map((one) => [points(one)])]);
	const key = [["by name", percent(metrics.oracle.average_accuracy, 1), "average accuracy"], ["routed", percent(metrics.auto.average_accuracy, 1), "average accuracy"],
		["forgetting", `${points(metrics.oracle.forgetting)} / ${points(metrics.auto.forgetting)}`, "points, by name / routed"], ["right task", percent(routing.task_accuracy, 1), "of the clips"],
		["storage", size(storage.adapter_bytes), `all adapters; full copies: ${size(storage.full_copies_bytes)}`]];
	const tags = stats.tag_metrics; // of tasks whose clips may have several labels; accuracies are without them
	if (tags) key.splice(2, 0, ["mAP", `${points(tags.oracle.average_mAP)} / ${points(tags.auto.average_mAP)}`, "%, tasks of tags, by name / routed"]);
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
