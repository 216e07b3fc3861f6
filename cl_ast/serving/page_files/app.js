// Shows one screen at a time, and what went wrong.

import * as api from "./api.js";
import { $, plural } from "./dom.js";
import { listen } from "./listen.js";
import { retention } from "./retention.js";
import { tasks } from "./tasks.js";

const SCREENS = { listen, tasks, retention };
let current = null;

export function trouble(error) {
	if (error?.name === "AbortError") return;
	$("trouble").textContent = error?.message ?? "";
	$("trouble").hidden = !error;
	if (error && !(error instanceof api.Refused)) console.error(error);
}

async function show(moved) {
	const name = location.hash.slice(1) in SCREENS ? location.hash.slice(1) : "listen";
	if (name === current) return;
	current = name;
	for (const one of Object.keys(SCREENS)) {
		$(one).hidden = one !== name;
		document.querySelector(`nav a[href="#${one}"]`).ariaCurrent = one === name ? "page" : null;
	}
	document.title = `${$(name).ariaLabel} · cl-ast`;
	trouble(null);
	if (moved) $("main").focus({ preventScroll: true });
	await Promise.all([SCREENS[name].show(), about()]);
}

async function about() {
	const { tasks: found } = await api.json("v1/tasks");
	$("about").textContent = plural(found.length, "task") + (found.length ? ` over ${found[0].backbone}` : "");
}

addEventListener("hashchange", () => show(true));
addEventListener("unhandledrejection", (event) => { event.preventDefault(); trouble(event.reason); });
show(false);
