// The screen Tasks: a card for each, and where changes are allowed, a form for a new one.

import * as api from "./api.js";
import { $, el, percent, plural, size } from "./dom.js";
import { zip } from "./zip.js";

async function show() {
	const [{ tasks: found, changes }, measured] = await Promise.all([api.json("v1/tasks"), api.json("v1/retention")]);
	$("cards").replaceChildren(...found.map((one) => card(one, measured)));
	if (changes && !$("add").childElementCount) $("add").append(adding());
	if (!found.length) $("cards").append(el("p", "There is no task yet."));
}

export const tasks = { show };

function card(task, { stats, shown }) {
	const at = stats.tasks.findIndex((one) => one.name === task.name), row = stats.routing.confusion[at] ?? [];
	const clips = row.reduce((sum, count) => sum + count, 0);
	const taken = row.map((count, other) => [stats.tasks[other].name, count]).filter(([name, count]) => count / clips >= 0.005 && name !== task.name).sort((a, b) => b[1] - a[1]);
	const [named, routed] = shown.tasks[at] ?? ["–", "–"];
	const facts = [["by name", named], ["routed", task.by_name_only ? "never" : routed], ["version", task.version], ["size", size(stats.tasks[at]?.bytes)]];
	return el("article.card", { label: task.name }, el("h2", task.name),
		el("dl", ...facts.map(([name, value]) => el("div", el("dt", name), el("dd", value)))),
		el("p.soft", taken.length ? `Taken for ${taken.map(([name, count]) => `${name} (${percent(count / clips)})`).join(", ")}` : clips ? "Never taken for another task" : "Routing not measured"),
		el("details.soft", el("summary", plural(task.labels.length, "label")), el("p", task.labels.join(", ")), el("p", `${task.method}, learned ${task.learned.slice(0, 10)}`)));
}

function adding() {
	const name = el("input", { type: "text", required: true, maxlength: 100, placeholder: "yard" });
	const folder = el("input", { type: "file", webkitdirectory: true, "aria-describedby": "add-hint" }), archive = el("input", { type: "file", accept: ".zip" });
	const bar = el("progress", { hidden: true, label: "Training" }), said = el("p.soft", { role: "status" });
	const button = el("button.primary", "Train");
	const form = el("form.adding", el("h2", "Add a task"),
		el("p.soft", { id: "add-hint" }, "Drop or choose a folder with a folder of clips for each label, or a zip of it."),
		el("p.bar", el("label", "Name ", name), el("label", "Folder ", folder), el("label", "or zip ", archive), button), bar, said);
	let dropped = [];
	form.addEventListener("drop", async (event) => {
		dropped = (await Promise.all([...event.dataTransfer.items].map((item) => walk(item.webkitGetAsEntry())))).flat();
		said.textContent = `${plural(dropped.length, "file")} dropped`;
	});
	form.addEventListener("submit", async (event) => {
		event.preventDefault();
		button.disabled = true;
		bar.hidden = false;
		bar.removeAttribute("value");
		try {
			const files = dropped.length ? dropped : [...folder.files].map((content) => ({ name: content.webkitRelativePath, content }));
			const one = archive.files[0] ?? (/\.zip$/.test(files[0]?.name) ? files[0].content : await zip(files));
			said.textContent = "Sending …";
			const job = await api.post(`v1/trainings?${new URLSearchParams({ name: name.value })}`, one);
			await api.follow(job.id, { progress: ({ step }) => {
				if (!step) return;
				said.textContent = `${step.stage} ${step.note}`;
				bar.max = step.total || 1;
				bar.value = step.done;
			} });
			said.textContent = `${name.value} is trained.`;
			form.reset();
			dropped = [];
			await show();
		} catch (error) {
			said.textContent = error.message;
		} finally {
			button.disabled = false;
			bar.hidden = true;
		}
	});
	return form;
}

// Returns the files below a folder that was dropped.
async function walk(entry) {
	if (entry.isFile) return [{ name: entry.fullPath.slice(1), content: await new Promise((done, failed) => entry.file(done, failed)) }];
	const reader = entry.createReader(), found = [];
	for (let some; (some = await new Promise((done, failed) => reader.readEntries(done, failed))).length; ) found.push(...some);
	return (await Promise.all(found.map(walk))).flat();
}
