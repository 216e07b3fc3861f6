// Events of a recording: as buttons below the spectrogram, where they are, and as a table beside it.

import { clock, el, percent, plural } from "./dom.js";

const MOST_BUTTONS = 300, MOST_ROWS = 500, MOST_LANES = 6;
const MARKS = { yes: "✓", no: "✗", unsure: "?" };

export class EventList {
	constructor(spectrogram, review, hear) {
		this.spectrogram = spectrogram;
		this.review = review;
		this.hear = hear;
		this.all = [];
		this.unknown = [];
		this.chosen = null;
		this.lanes = el("div", { class: "lanes", role: "group", "aria-label": "Events in the part that is shown" });
		this.body = el("tbody");
		this.more = el("p", { class: "soft", hidden: true });
		this.nothing = el("p", { class: "soft" }, "No events.");
		const head = ["", "Time", "Label", "Task", "Score"].map((name) => el("th", { scope: "col" }, name || el("span", { class: "sr" }, "Review")));
		this.table = el("table", {}, el("caption", { class: "sr" }, "Events"), el("thead", {}, el("tr", {}, ...head)), this.body);
		this.root = el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Events" }, this.table, this.nothing, this.more);
	}

	set(all, unknown) {
		this.all = all;
		this.unknown = unknown;
		this.chosen = all.find((one) => one.id === this.chosen?.id) ?? null;
		this.spectrogram.marks = all;
		this.spectrogram.chosen = this.chosen;
		this.spectrogram.draw();
		this.place();
		this.fill();
	}

	place() {
		const { start, end } = this.spectrogram;
		const inside = (one) => one.end > start && one.start < end;
		const shown = this.all.filter(inside), free = [];
		const focused = document.activeElement?.closest?.(".lanes") ? document.activeElement.dataset.id : null;
		const items = shown.slice(0, MOST_BUTTONS).map((one) => this.button(one, free));
		const below = free.length; // in a lane of their own
		for (const one of this.unknown.filter(inside).slice(0, MOST_BUTTONS)) items.push(this.put(el("span", { class: "unknown", title: "no task fits" }, "unknown"), one, free, below));
		this.lanes.replaceChildren(...items);
		this.lanes.style.setProperty("--lanes", Math.max(1, Math.min(MOST_LANES, free.length)));
		if (focused) this.lanes.querySelector(`[data-id="${CSS.escape(focused)}"]`)?.focus();
	}

	button(one, free) {
		const mark = MARKS[this.review.of(one)] ?? "";
		const made = el("button", { "data-id": one.id, "aria-pressed": String(one === this.chosen), title: `${one.task}: ${one.label} ${percent(one.score)}`,
			"aria-label": `${one.label}, ${clock(one.start, 1)} to ${clock(one.end, 1)}, ${percent(one.score)}${mark && `, ${this.review.of(one)}`}`,
			onclick: () => { this.choose(one); this.hear(one); } }, `${mark} ${one.label}`.trim());
		return this.put(made, one, free);
	}

	// Puts an element where an event is, in the first lane that is free there.
	put(made, one, free, lane = -1) {
		const { start, end } = this.spectrogram, share = (time) => (100 * (time - start)) / (end - start);
		const from = Math.max(0, share(one.start)), wide = Math.min(100, share(one.end)) - from;
		if (lane < 0) lane = free.findIndex((until) => until <= from + 1e-6);
		if (lane < 0) lane = free.length;
		free[lane] = from + wide;
		made.style.left = `${from}%`;
		made.style.width = `${wide}%`;
		made.style.top = `calc(${lane} * var(--lane))`;
		return made;
	}

	fill() {
		const rows = this.all.slice(0, MOST_ROWS).map((one) => {
			const judged = this.review.of(one);
			return el("tr", { "aria-selected": one === this.chosen ? "true" : null, onclick: (event) => { this.choose(one); if (!event.target.closest("button")) this.hear(one); } },
				el("td", { class: `mark ${judged ?? ""}` }, judged ? el("span", { role: "img", "aria-label": judged }, MARKS[judged]) : ""),
				el("td", {}, el("button", { class: "link", "aria-label": `Play ${one.label} at ${clock(one.start, 1)}`, onclick: () => { this.choose(one); this.hear(one); } }, `${clock(one.start, 2)}–${clock(one.end, 2)}`)),
				el("td", {}, one.label), el("td", { class: "soft" }, one.task), el("td", { class: "n" }, percent(one.score)));
		});
		this.body.replaceChildren(...rows);
		this.table.hidden = !rows.length;
		this.nothing.hidden = rows.length > 0;
		this.more.hidden = this.all.length <= MOST_ROWS;
		this.more.textContent = `and ${plural(this.all.length - MOST_ROWS, "more event")}; an export has all`;
	}

	choose(one) {
		this.chosen = one;
		this.spectrogram.chosen = one;
		this.spectrogram.draw();
		for (const made of this.lanes.children) if (made.dataset.id) made.setAttribute("aria-pressed", String(made.dataset.id === one.id));
		[...this.body.rows].forEach((row, number) => {
			if (this.all[number] === one) { row.setAttribute("aria-selected", "true"); row.scrollIntoView({ block: "nearest" }); }
			else row.removeAttribute("aria-selected");
		});
	}

	step(by) {
		if (!this.all.length) return;
		const at = this.chosen ? this.all.indexOf(this.chosen) + by : by > 0 ? 0 : this.all.length - 1;
		const one = this.all[Math.max(0, Math.min(this.all.length - 1, at))];
		this.choose(one);
		this.hear(one);
	}

	judge(what) {
		if (!this.chosen) return;
		this.review.judge(this.chosen, what);
		this.place();
	}
}
