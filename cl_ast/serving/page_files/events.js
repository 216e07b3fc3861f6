// Events: buttons below the spectrogram, where they are, and a table beside it.

import { clock, el, percent, plural } from "./dom.js";

const MOST_BUTTONS = 99, MOST_ROWS = 500, MOST_LANES = 6;
const MARKS = { yes: "✓", no: "✗", unsure: "?" };

export class EventList {
	all = [];
	unknown = [];
	chosen = null;

	constructor(view, review, hear) {
		Object.assign(this, { view, review, hear });
		this.lanes = el("div.lanes", { role: "group", label: "Events in view" });
		this.body = el("tbody");
		this.more = el("p.soft");
		const head = ["", "Time", "Label", "Task", "Score"].map((name) => el("th", { scope: "col" }, name || el("span.sr", "Review")));
		this.table = el("table", el("caption.sr", "Events"), el("thead", el("tr", ...head)), this.body);
		this.root = el("div.scroll", { tabindex: 0, role: "region", label: "Events" }, this.table, this.more);
	}

	set(all, unknown) {
		Object.assign(this, { all, unknown });
		this.view.marks = all;
		this.chosen = this.view.chosen = all.find((one) => one.id === this.chosen?.id);
		this.view.draw();
		this.place();
		this.fill();
	}

	place() {
		const { start, end } = this.view;
		const inside = (all) => all.filter((one) => one.end > start && one.start < end), free = [], here = inside(this.all);
		if (here.length > MOST_BUTTONS) return this.lanes.replaceChildren(el("span", `${plural(here.length, "event")}: zoom in`));
		const focused = this.lanes.contains(document.activeElement) && document.activeElement.dataset.id;
		const buttons = here.map((one) => this.button(one, free)), below = free.length;
		this.lanes.replaceChildren(...buttons, ...inside(this.unknown).slice(0, MOST_BUTTONS).map((one) => this.put(el("span.unknown", "unknown"), one, free, below)));
		this.lanes.style.setProperty("--lanes", Math.max(1, Math.min(MOST_LANES, free.length)));
		if (focused) this.lanes.querySelector(`[data-id="${CSS.escape(focused)}"]`)?.focus();
	}

	button(one, free) {
		const judged = this.review.of(one), label = `${one.label}, ${clock(one.start, 1)} to ${clock(one.end, 1)}, ${percent(one.score)}, ${judged ?? "not reviewed"}`;
		const onclick = () => this.play(one), text = `${MARKS[judged] ?? ""} ${one.label}`.trim();
		return this.put(el("button", { "data-id": one.id, "aria-pressed": `${one === this.chosen}`, label, onclick }, text), one, free);
	}

	// Puts an element where an event is, in the first lane that is free there.
	put(made, one, free, lane = -1) {
		const { start, end } = this.view, share = (time) => (100 * (time - start)) / (end - start);
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
			return el("tr", { "aria-current": one === this.chosen ? "true" : null, onclick: () => this.play(one) },
				el("td", { class: `mark ${judged ?? ""}` }, judged ? el("span", { role: "img", label: judged }, MARKS[judged]) : ""),
				el("td", el("button.link", { label: `Play ${one.label} at ${clock(one.start, 1)}` }, `${clock(one.start, 2)}–${clock(one.end, 2)}`)),
				el("td", one.label), el("td.soft", one.task), el("td.n", percent(one.score)));
		});
		this.body.replaceChildren(...rows);
		this.table.hidden = !rows.length;
		this.more.textContent = !rows.length ? "No events." : this.all.length > MOST_ROWS ? `and ${plural(this.all.length - MOST_ROWS, "more event")}; a download has all` : "";
	}

	play(one) {
		this.chosen = this.view.chosen = one;
		this.hear(one);
		for (const made of this.lanes.querySelectorAll("button")) made.ariaPressed = made.dataset.id === one.id;
		for (const row of this.body.rows) row.ariaCurrent = null;
		const row = this.body.rows[this.all.indexOf(one)];
		if (!row) return;
		row.ariaCurrent = "true";
		row.scrollIntoView({ block: "nearest" });
	}

	step(by) {
		if (!this.all.length) return;
		const at = this.chosen ? this.all.indexOf(this.chosen) + by : by > 0 ? 0 : this.all.length - 1;
		this.play(this.all[Math.max(0, Math.min(this.all.length - 1, at))]);
	}

	judge(what) {
		if (!this.chosen) return;
		this.review.judge(this.chosen, what);
		this.place();
	}
}
