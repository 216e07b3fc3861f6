// The screen Listen: recordings that were dropped, chosen or recorded, one of which is open.

import * as api from "./api.js";
import { trouble } from "./app.js";
import { $, clock, el } from "./dom.js";
import { Live } from "./live.js";
import { Opened } from "./opened.js";

const queue = []; // of { file, opened, button }
let current = null, live = null;

async function show() {
	const { tasks } = await api.json("v1/tasks");
	const chosen = $("task").value;
	$("task").replaceChildren(
		el("option", { value: "auto" }, "the router chooses"),
		...tasks.map((one) => el("option", { value: one.name }, one.name)),
		...(tasks.length > 1 ? [el("option", { value: "all" }, "every task")] : []),
	);
	$("task").value = [...$("task").options].some((one) => one.value === chosen) ? chosen : "auto";
}

export const listen = { show };

function wanted() {
	const found = new URLSearchParams({ task: $("task").value });
	if ($("window").value) found.set("window", $("window").value);
	return found;
}

function add(files) {
	const added = [...files].map((file) => {
		const button = el("button", { "aria-pressed": "false", onclick: () => open(one) }, file.name);
		const close = el("button", { class: "quiet", "aria-label": `Close ${file.name}`, onclick: () => drop(one) }, "×");
		const one = { file, opened: null, button, item: el("li", {}, button, close) };
		$("queue").append(one.item);
		return one;
	});
	queue.push(...added);
	$("queue").hidden = !queue.length;
	if (added.length) open(added[0]);
}

async function open(one) {
	current?.opened?.pause();
	current = one;
	for (const other of queue) other.button.setAttribute("aria-pressed", String(other === one));
	$("drop").classList.add("small");
	trouble(null);
	$("result").hidden = true;
	try {
		if (!one.opened) {
			say(`Sending ${one.file.name} …`);
			one.opened = new Opened(one.file, await api.sendFile("v1/recordings", one.file), say);
		}
		if (current !== one) return;
		$("result").replaceChildren(one.opened.root);
		$("result").hidden = false;
		one.opened.spectrogram.draw();
		await one.opened.search(wanted());
	} catch (error) {
		if (current !== one) return;
		say("");
		trouble(error);
	}
}

function drop(one) {
	queue.splice(queue.indexOf(one), 1);
	one.item.remove();
	one.opened?.close();
	$("queue").hidden = !queue.length;
	if (one !== current) return;
	current = null;
	$("result").replaceChildren();
	if (queue.length) open(queue[0]);
	else $("drop").classList.remove("small");
	$("choose").focus();
}

function say(text) {
	$("progress").textContent = text;
}

async function microphone() {
	trouble(null);
	if (live) {
		const stopping = live;
		live = null;
		lit(false);
		const file = await stopping.stop();
		if (file) add([file]);
		return;
	}
	current?.opened?.pause();
	const starting = new Live(wanted(), say, (error) => { trouble(error); if (live) microphone(); });
	live = starting;
	try {
		await starting.start();
		current = null;
		for (const other of queue) other.button.setAttribute("aria-pressed", "false");
		$("drop").classList.add("small");
		$("result").replaceChildren(starting.root);
		$("result").hidden = false;
		lit(true);
	} catch (error) {
		live = null;
		trouble(error);
	}
}

function lit(on) {
	$("live").setAttribute("aria-pressed", String(on));
	$("live").textContent = on ? "Stop the microphone" : "Use the microphone";
}

$("choose").addEventListener("click", () => $("files").click());
$("files").addEventListener("change", () => { add($("files").files); $("files").value = ""; });
$("live").addEventListener("click", microphone);
$("search").addEventListener("submit", (event) => {
	event.preventDefault();
	if (current) open(current);
});

for (const kind of ["dragenter", "dragover"]) {
	addEventListener(kind, (event) => {
		event.preventDefault();
		$("drop").classList.add("over");
	});
}
addEventListener("dragleave", (event) => { if (!event.relatedTarget) $("drop").classList.remove("over"); });
addEventListener("drop", (event) => {
	event.preventDefault();
	$("drop").classList.remove("over");
	if (!$("listen").hidden) add(event.dataTransfer.files);
});

addEventListener("keydown", (event) => {
	const opened = current?.opened;
	if (!opened || $("listen").hidden || event.ctrlKey || event.metaKey || event.altKey) return;
	if (event.target.closest("input, select, textarea, dialog")) return;
	if (event.key === " " && event.target.closest("button, summary, a")) return;
	if (opened.key(event.key)) event.preventDefault();
});
