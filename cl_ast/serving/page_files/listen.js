// The screen Listen: recordings, one of which is open.

import * as api from "./api.js";
import { trouble } from "./app.js";
import { $, el } from "./dom.js";
import { Live } from "./live.js";
import { Opened } from "./opened.js";

const queue = [];
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
	const first = queue.length;
	for (const file of files) {
		const button = el("button", { onclick: () => open(one) }, file.name);
		const one = { file, button, item: el("li", button, el("button.quiet", { label: `Close ${file.name}`, onclick: () => drop(one) }, "×")) };
		queue.push(one);
		$("queue").append(one.item);
	}
	$("queue").hidden = !queue.length;
	if (first < queue.length) open(queue[first]);
}

function choose(one) {
	current?.opened?.player.pause();
	current = one;
	for (const other of queue) other.button.ariaPressed = other === one;
	$("drop").classList.add("small");
}

function put(root) {
	$("result").replaceChildren(root);
	$("result").hidden = false;
}

async function open(one) {
	choose(one);
	trouble(null);
	$("result").hidden = true;
	try {
		if (!one.opened) {
			say(`Sending ${one.file.name} …`);
			one.opened = new Opened(one.file, await api.sendFile("v1/recordings", one.file), say);
		}
		if (current !== one) return;
		put(one.opened.root);
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
		return add(await stopping.stop());
	}
	const starting = new Live(wanted(), say, (error) => live && microphone().then(() => trouble(error)));
	live = starting;
	try {
		await starting.start();
		choose(null);
		put(starting.root);
		lit(true);
	} catch (error) {
		live = null;
		trouble(error);
	}
}

function lit(on) {
	$("live").ariaPressed = on;
	$("live").textContent = `${on ? "Stop" : "Use"} the microphone`;
}

$("choose").addEventListener("click", () => $("files").click());
$("files").addEventListener("change", () => { add($("files").files); $("files").value = ""; });
$("live").addEventListener("click", microphone);
$("search").addEventListener("submit", (event) => {
	event.preventDefault();
	if (current) open(current);
});

function over(event, is) {
	event.preventDefault();
	$("drop").classList.toggle("over", is);
}

addEventListener("dragover", (event) => over(event, true));
addEventListener("dragleave", (event) => over(event, false));
addEventListener("drop", (event) => {
	over(event, false);
	if (!$("listen").hidden) add(event.dataTransfer.files);
});

addEventListener("keydown", (event) => {
	const opened = current?.opened;
	if (!opened || $("listen").hidden || event.ctrlKey || event.metaKey || event.altKey) return;
	if (event.target.closest("input, select, textarea, dialog")) return;
	if (event.key === " " && event.target.closest("button, summary, a")) return;
	if (opened.key(event.key)) event.preventDefault();
});
