// Judgements of events: yes, no or unsure. Those that were judged download as a folder for `cl-ast add-task`.

import * as api from "./api.js";
import { trouble } from "./app.js";
import { el, plural, save } from "./dom.js";
import { zip } from "./zip.js";

const LONGEST = 60; // seconds of a clip

export class Review {
	constructor(place, file, changed) {
		this.place = place;
		this.stem = plain(file.replace(/\.\w+$/, ""));
		this.changed = changed;
		this.judged = new Map(); // of an event's id: the event and what it was judged
		this.shown = el("span", { class: "soft", role: "status" });
		this.button = el("button", { onclick: () => this.download().catch(trouble) }, "Download the clips");
		this.root = el("p", { class: "buttons", hidden: true }, this.shown, this.button);
	}

	of(event) { return this.judged.get(event.id)?.what; }

	judge(event, what) {
		if (this.of(event) === what) this.judged.delete(event.id);
		else this.judged.set(event.id, { event, what });
		const count = (which) => [...this.judged.values()].filter((one) => one.what === which).length;
		this.root.hidden = !this.judged.size;
		this.shown.textContent = `${count("yes")} right, ${count("no")} wrong, ${count("unsure")} unsure `;
		this.button.disabled = !count("yes") && !count("no");
		this.changed();
	}

	async download() {
		const wanted = [...this.judged.values()].filter((one) => one.what !== "unsure"), files = [];
		for (const { event, what } of wanted) {
			const end = Math.min(event.end, event.start + LONGEST);
			const sound = await api.blob(`${this.place}/sound?start=${event.start}&end=${end}`);
			const folder = what === "yes" ? `clips/${plain(event.label)}` : "negatives";
			files.push({ name: `${folder}/${this.stem}_${event.start.toFixed(3)}-${end.toFixed(3)}_${plain(event.label)}.wav`, content: sound });
		}
		const read = `${plural(wanted.length, "event")} of ${this.stem}. A task from them:\n\n    cl-ast add-task clips/ --name NAME${files.some((one) => one.name.startsWith("negatives")) ? " --negatives negatives/" : ""}\n`;
		save(await zip([...files, { name: "README.txt", content: new Blob([read]) }]), `${this.stem}-reviewed.zip`);
	}
}

const plain = (text) => text.replace(/[^\p{L}\p{N}.+-]+/gu, "_").replace(/^\.+/, "").slice(0, 60) || "_";
