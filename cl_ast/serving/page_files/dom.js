// Makes elements, whose content is only ever text, and writes numbers for people.

export const $ = (id) => document.getElementById(id);

// el("p.soft", { label: "for screen readers", onclick: act }, "text", …): the attributes may be left out.
export function el(kind, ...children) {
	const [tag, ...classes] = kind.split("."), made = document.createElement(tag);
	made.classList.add(...classes);
	const attributes = children[0]?.constructor === Object ? children.shift() : {};
	for (const [name, value] of Object.entries(attributes)) {
		if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
		else if (value != null && value !== false) made.setAttribute(name === "label" ? "aria-label" : name, value === true ? "" : value);
	}
	made.append(...children);
	return made;
}

export const percent = (share, digits = 0) => (share == null ? "–" : `${(100 * share).toFixed(digits)} %`);

export const plural = (count, one) => `${count.toLocaleString("en")} ${one}${count === 1 ? "" : "s"}`;

export function size(bytes) {
	if (bytes == null) return "–";
	for (const unit of ["B", "kB", "MB", "GB"]) {
		if (bytes < 1000 || unit === "GB") return `${bytes.toFixed(unit === "B" || bytes >= 100 ? 0 : 1)} ${unit}`;
		bytes /= 1000;
	}
}

export function clock(seconds, digits = 0) {
	const unit = 10 ** digits, total = Math.round(seconds * unit);
	const minutes = Math.floor(total / unit / 60), rest = ((total / unit) % 60).toFixed(digits);
	const wide = rest.padStart(digits ? digits + 3 : 2, "0");
	return minutes < 60 ? `${minutes}:${wide}` : `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")}:${wide}`;
}

export function save(content, name) {
	const url = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type: "text/plain" }));
	el("a", { href: url, download: name }).click();
	setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
