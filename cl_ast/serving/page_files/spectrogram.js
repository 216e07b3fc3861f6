// Draws a spectrogram from tiles: time to the right, pitch upwards on the mel scale of the front end.
// A source has `seconds`, `loudest` and `tile(level, number)`: columns of 128 bytes, each of 2^level frames of 10 ms.
// One that grows has `columns(level, number)` instead, which are there at once.

import { clock, el } from "./dom.js";

const BANDS = 128, COLUMNS = 512, FRAMES = 100; // per second
const RANGE = 110; // of the bytes, 45 dB, from the darkest to the brightest
const LEFT = 44, BOTTOM = 24, MOST_TILES = 48, DEEPEST = 12, SHORTEST = 0.5;
const PITCHES = [[250, "250"], [500, "500"], [1000, "1k"], [2000, "2k"], [4000, "4k"], [8000, "8k Hz"]];
const STEPS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200];
const mel = (hertz) => Math.log1p(hertz / 700), LOWEST = mel(20), HIGHEST = mel(8000);

export class Spectrogram {
	start = 0;
	play;
	marks = [];
	chosen = null;
	tiles = new Map();
	onview = () => {};

	constructor(source, label) {
		this.source = source;
		this.end = Math.max(source.seconds, SHORTEST);
		this.canvas = el("canvas", { role: "img", label, onpointerdown: (event) => this.onseek?.(this.start + Math.max(0, (event.offsetX - LEFT) / this.width) * this.length) });
		this.root = el("div.spectrogram", this.canvas);
		new ResizeObserver(() => this.draw()).observe(this.root);
		matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { this.tiles.clear(); this.draw(); });
	}

	get length() { return this.end - this.start; }
	get width() { return Math.max(1, this.root.clientWidth - LEFT); }

	zoom(factor, about = this.play ?? (this.start + this.end) / 2) {
		const length = Math.min(this.source.seconds, Math.max(SHORTEST, this.length * factor)), share = (about - this.start) / this.length;
		this.show(about - (share >= 0 && share <= 1 ? share : 0.5) * length, length);
	}

	show(start, length = this.length) {
		this.start = Math.max(0, Math.min(start, this.source.seconds - length));
		this.end = this.start + length;
		this.draw();
		this.onview();
	}

	reveal(from, to = from) {
		if (from < this.start || to > this.end) this.show(from - Math.min(this.length / 4, Math.max(0, this.length - (to - from))));
	}

	// Draws in the next frame.
	draw() {
		this.waiting ??= requestAnimationFrame(() => { this.waiting = null; this.paint(); });
	}

	paint() {
		const ratio = devicePixelRatio || 1, { clientWidth, clientHeight } = this.root, style = getComputedStyle(this.root);
		if (!clientWidth) return;
		this.canvas.width = clientWidth * ratio;
		this.canvas.height = clientHeight * ratio;
		this.color = (name) => style.getPropertyValue(name).trim();
		this.height = clientHeight - BOTTOM;
		this.context = this.canvas.getContext("2d");
		this.context.scale(ratio, ratio);
		this.paintTiles(((this.length * FRAMES) / this.width) / ratio);
		this.paintMarks();
		this.paintAxes();
	}

	x(time) { return LEFT + ((time - this.start) / this.length) * this.width; }

	fill(color, ...box) {
		this.context.fillStyle = this.color(color);
		this.context.fillRect(...box);
	}

	paintTiles(perPixel) {
		const level = Math.max(0, Math.min(this.source.deepest ?? DEEPEST, Math.floor(Math.log2(Math.max(1, perPixel)))));
		const seconds = (COLUMNS << level) / FRAMES, last = Math.min(this.end, this.source.seconds) / seconds;
		this.fill("--s0", LEFT, 0, this.width, this.height);
		for (let number = Math.floor(this.start / seconds); number <= last; number++) {
			const image = this.tile(level, number), from = this.x(number * seconds);
			if (image) this.context.drawImage(image, from, 0, (image.width / COLUMNS) * (this.x((number + 1) * seconds) - from), this.height);
		}
		this.context.clearRect(0, 0, LEFT, this.height);
	}

	tile(level, number) {
		const name = `${level}/${number}`, known = this.tiles.get(name), made = known ?? { image: null };
		if (!known && this.source.grows) {
			const columns = this.source.columns(level, number), image = columns.length ? this.picture(columns) : null;
			if (columns.length < COLUMNS * BANDS) return image; // there will be more
			made.image = image;
		} else if (!known) {
			this.source.tile(level, number).then((columns) => {
				if (columns.length) made.image = this.picture(columns);
				this.draw();
			}).catch(() => this.tiles.delete(name));
		}
		this.tiles.delete(name);
		this.tiles.set(name, made); // the one used last is forgotten last
		if (this.tiles.size > MOST_TILES) this.tiles.delete(this.tiles.keys().next().value);
		return made.image;
	}

	picture(columns) {
		const width = columns.length / BANDS, image = new ImageData(width, BANDS), pixels = new Uint32Array(image.data.buffer);
		const colors = this.colors(), floor = Math.max(0, this.source.loudest - RANGE);
		for (let at = 0; at < columns.length; at++) {
			const value = Math.max(0, Math.min(RANGE, columns[at] - floor));
			pixels[(BANDS - 1 - (at % BANDS)) * width + Math.floor(at / BANDS)] = colors[Math.round((value * 255) / RANGE)];
		}
		const canvas = new OffscreenCanvas(width, BANDS);
		canvas.getContext("2d").putImageData(image, 0, 0);
		return canvas;
	}

	// The colours from silence to the loudest.
	colors() {
		const line = new OffscreenCanvas(256, 1).getContext("2d"), gradient = line.createLinearGradient(0, 0, 256, 0);
		for (let stop = 0; stop < 5; stop++) gradient.addColorStop(stop / 4, this.color(`--s${stop}`));
		line.fillStyle = gradient;
		line.fillRect(0, 0, 256, 1);
		return new Uint32Array(line.getImageData(0, 0, 256, 1).data.buffer);
	}

	paintMarks() {
		for (const one of this.marks) {
			if (one.end > this.start && one.start < this.end) this.fill("--mark", this.x(one.start), this.height - 3, Math.max(2, this.x(one.end) - this.x(one.start)), 3);
		}
		if (this.chosen) {
			const from = Math.max(LEFT + 1, this.x(this.chosen.start)), to = Math.min(LEFT + this.width, this.x(this.chosen.end));
			this.context.strokeStyle = this.color("--mark");
			this.context.lineWidth = 2;
			if (to > from) this.context.strokeRect(from, 1, to - from, this.height - 2);
		}
		if (this.play >= this.start && this.play <= this.end) this.fill("--play", this.x(this.play) - 1, 0, 2, this.height);
	}

	paintAxes() {
		const write = (text, x, y, align, baseline) => {
			Object.assign(this.context, { font: "12px system-ui, sans-serif", textAlign: align, textBaseline: baseline });
			this.context.fillText(text, x, y);
		};
		for (const [hertz, name] of PITCHES) {
			const y = this.height * (1 - (mel(hertz) - LOWEST) / (HIGHEST - LOWEST));
			this.fill("--soft", LEFT - 4, y, 4, 1);
			write(name, LEFT - 6, Math.max(7, y), "right", "middle");
		}
		const step = STEPS.find((one) => (one / this.length) * this.width >= 56);
		for (let number = Math.ceil(this.start / step - 1e-6); number * step <= this.end + 1e-6; number++) {
			const time = number * step, x = this.x(time), name = this.end < 60 ? `${+time.toFixed(1)} s` : clock(time, step < 1 ? 1 : 0);
			const half = this.context.measureText(name).width / 2;
			this.fill("--soft", Math.min(x, LEFT + this.width - 1), this.height, 1, 4);
			write(name, Math.min(LEFT + this.width - half, Math.max(LEFT + half, x)), this.height + 7, "center", "top");
		}
	}
}
