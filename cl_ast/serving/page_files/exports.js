// Downloads the events in the forms of other programs, as the service writes them.

import * as api from "./api.js";
import { el, save } from "./dom.js";

const FORMS = [["JSON lines", "jsonl", ".jsonl"], ["CSV", "csv", ".csv"], ["Audacity", "audacity", ".txt"], ["Raven", "raven", ".selections.txt"]];

export function exportsOf(recording, place, threshold) {
	const stem = recording.file.replace(/\.\w+$/, "");
	const buttons = FORMS.map(([name, form, ending]) => el("button", {
		onclick: async () => {
			const query = new URLSearchParams({ format: form }), on = threshold();
			if (on !== null) query.set("on", on);
			save(await api.text(`${place}/events?${query}`), stem + ending);
		},
	}, name));
	return el("p", { class: "buttons", role: "group", "aria-label": "Download the events" }, el("span", { class: "soft" }, "Download "), ...buttons);
}
