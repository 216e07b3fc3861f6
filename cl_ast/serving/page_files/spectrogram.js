// Draws a spectrogram from tiles: time to the right, pitch upwards on the mel scale that the front end has.
// A source has `seconds`, `loudest` and `tile(level, number)`: columns of 128 bytes, each of 2^level frames of 10 ms.

import { clock, el } from "./dom.js";

const BANDS = 128, COLUMNS = 512, FRAMES = 100; // per second
const RANGE = 110; // of the bytes, 45 dB, from the darkest to the brightest
const LEFT = 44, BOTTOM = 24;
const MOST_TILES = 48, DEEPEST = 12, SHORTEST = 0.5; // seconds
const PITCHES = [[250, "250"], [500, "500"], [1000, "1k"], [2000, "2k"], [4000, "4k"], [8000, "8k Hz"]];
const STEPS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600];
const mel = (hertz) => 1127 * Math.log1p(hertz / 700);
const heightOf = (hertz) => (mel(hertz) - mel(20)) / (mel(8000) - mel(20));

export class Spectrogram {
	constructor(source, label) {
		this.source = source;
		this.start = 0;
		this.end = Math.max(source.seconds, SHORTEST);
		this.play = null;
		this.marks = [];
		this.chosen = null;
		this.tiles = new Map();
		this.canvas = el("canvas", { role: "img", "aria-label": label });
		this.root = el("div", { class: "spectrogram" }, this.canvas);
		this.onview = this.onseek = () => {};
		new ResizeObserver(() => this.draw()).observe(this.root);
		this.dark = matchMedia("(prefers-color-scheme: dark)");
		this.dark.addEventListener("change", () => { this.tiles.clear(); this.draw(); });
		this.canvas.addEventListener("pointerdown", (event) => this.onseek(this.timeAt(event.offsetX)));
	}

	get width() { return Math.max(1, this.root.clientWidth - LEFT); }

	timeAt(x) {
		return this.start + Math.min(1, Math.max(0, (x - LEFT) / this.width)) * (this.end - this.start);
	}

	zoom(factor, about = this.play ?? (this.start + this.end) / 2) {
		const length = Math.min(this.source.seconds, Math.max(SHORTEST, (this.end - this.start) * factor));
		const share = (about - this.start) / (this.end - this.start);
		this.show(about - (share >= 0 && share <= 1 ? share : 0.5) * length, length);
	}

	show(start, length = this.end - this.start) {
		this.start = Math.max(0, Math.min(start, this.source.seconds - length));
		this.end = this.start + length;
		this.draw();
		this.onview();
	}

	reveal(from, to = from) {
		const length = this.end - this.start;
		if (from < this.start || to > this.end) this.show(from - Math.min(length / 4, Math.max(0, length - (to - from))));
	}

	// Draws in the next frame, however often it is called.
	draw() {
		this.waiting ??= requestAnimationFrame(() => { this.waiting = null; this.paint(); });
	}

	paint() {
		const ratio = devicePixelRatio || 1, width = this.root.clientWidth, height = this.root.clientHeight;
		if (!width) return;
		this.canvas.width = width * ratio;
		this.canvas.height = height * ratio;
		const context = this.canvas.getContext("2d");
		context.scale(ratio, ratio);
		const style = getComputedStyle(this.root), color = (name) => style.getPropertyValue(name).trim();
		const plot = { width: width - LEFT, height: height - BOTTOM };
		context.fillStyle = color("--s0");
		context.fillRect(LEFT, 0, plot.width, plot.height);
		this.paintTiles(context, plot, color);
		this.paintMarks(context, plot, color);
		this.paintAxes(context, plot, color);
	}

	x(time, plot) { return LEFT + ((time - this.start) / (this.end - this.start)) * plot.width; }

	paintTiles(context, plot, color) {
		const perPixel = ((this.end - this.start) * FRAMES) / plot.width / (devicePixelRatio || 1);
		const level = Math.max(0, Math.min(this.source.deepest ?? DEEPEST, Math.floor(Math.log2(Math.max(1, perPixel)))));
		const seconds = (COLUMNS << level) / FRAMES;
		context.save();
		context.beginPath();
		context.rect(LEFT, 0, plot.width, plot.height);
		context.clip();
		const last = Math.floor(Math.min(this.end, this.source.seconds) / seconds);
		for (let number = Math.floor(this.start / seconds); number <= last; number++) {
			const image = this.tile(level, number, color);
			if (!image) continue;
			const from = this.x(number * seconds, plot);
			const wide = (image.width / COLUMNS) * (this.x((number + 1) * seconds, plot) - from);
			context.drawImage(image, from, 0, wide, plot.height);
		}
		context.restore();
	}

	tile(level, number, color) {
		const name = `${level}/${number}`, known = this.tiles.get(name);
		if (known) {
			this.tiles.delete(name);
			this.tiles.set(name, known); // the one used last is forgotten last
			return known.image;
		}
		if (this.source.grows) return this.growing(name, this.source.columns(level, number), color);
		const made = { image: null };
		this.keep(name, made);
		this.source.tile(level, number).then((columns) => {
			if (columns.length) made.image = this.picture(columns, color);
			this.draw();
		}).catch(() => this.tiles.delete(name));
		return null;
	}

	growing(name, columns, color) {
		const image = columns.length ? this.picture(columns, color) : null;
		if (columns.length === COLUMNS * BANDS) this.keep(name, { image });
		return image;
	}

	keep(name, made) {
		this.tiles.set(name, made);
		if (this.tiles.size > MOST_TILES) this.tiles.delete(this.tiles.keys().next().value);
	}

	picture(columns, color) {
		const width = columns.length / BANDS, image = new ImageData(width, BANDS), pixels = new Uint32Array(image.data.buffer);
		const colors = this.colors(color), floor = Math.max(0, this.source.loudest - RANGE);
		for (let column = 0; column < width; column++) {
			for (let band = 0; band < BANDS; band++) {
				const value = Math.max(0, Math.min(RANGE, columns[column * BANDS + band] - floor));
				pixels[(BANDS - 1 - band) * width + column] = colors[Math.round((value * 255) / RANGE)];
			}
		}
		const canvas = new OffscreenCanvas(width, BANDS);
		canvas.getContext("2d").putImageData(image, 0, 0);
		return canvas;
	}

	// The colours from silence to the loudest, between those that the style names.
	colors(color) {
		const line = new OffscreenCanvas(256, 1).getContext("2d"), gradient = line.createLinearGradient(0, 0, 256, 0);
		[0, 1, 2, 3, 4].forEach((stop) => gradient.addColorStop(stop / 4, color(`--s${stop}`)));
		line.fillStyle = gradient;
		line.fillRect(0, 0, 256, 1);
		return new Uint32Array(line.getImageData(0, 0, 256, 1).data.buffer);
	}

	paintMarks(context, plot, color) {
		context.fillStyle = color("--mark");
		for (const one of this.marks) {
			if (one.end < this.start || one.start > this.end) continue;
			const from = this.x(one.start, plot), wide = Math.max(2, this.x(one.end, plot) - from);
			context.fillRect(from, plot.height - 3, wide, 3);
		}
		if (this.chosen) {
			const from = Math.max(LEFT + 1, this.x(this.chosen.start, plot)), to = Math.min(LEFT + plot.width, this.x(this.chosen.end, plot));
			context.strokeStyle = color("--mark");
			context.lineWidth = 2;
			if (to > from) context.strokeRect(from, 1, to - from, plot.height - 2);
		}
		if (this.play != null && this.play >= this.start && this.play <= this.end) {
			context.fillStyle = color("--play");
			context.fillRect(this.x(this.play, plot) - 1, 0, 2, plot.height);
		}
	}

	paintAxes(context, plot, color) {
		context.fillStyle = color("--soft");
		context.font = "12px system-ui, sans-serif";
		context.textAlign = "right";
		context.textBaseline = "middle";
		for (const [hertz, name] of PITCHES) {
			const y = plot.height * (1 - heightOf(hertz));
			context.fillText(name, LEFT - 6, Math.max(7, y));
			context.fillRect(LEFT - 4, Math.min(plot.height - 1, y), 4, 1);
		}
		const length = this.end - this.start;
		const step = STEPS.find((one) => (one / length) * plot.width >= 56) ?? 7200;
		context.textBaseline = "top";
		context.textAlign = "center";
		for (let number = Math.ceil(this.start / step - 1e-6); number * step <= this.end + 1e-6; number++) {
			const time = number * step, x = this.x(time, plot);
			context.fillRect(Math.min(x, LEFT + plot.width - 1), plot.height, 1, 4);
			const name = length < 60 && this.end < 60 ? `${+time.toFixed(1)} s` : clock(time, step < 1 ? 1 : 0);
			const half = context.measureText(name).width / 2;
			context.fillText(name, Math.min(LEFT + plot.width - half, Math.max(LEFT + half, x)), plot.height + 7);
		}
	}
}
