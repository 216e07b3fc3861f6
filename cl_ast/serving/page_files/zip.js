// Puts files into a zip, uncompressed. Contents stay on the disk.

const TABLE = Uint32Array.from({ length: 256 }, (_, value) => {
	for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
	return value;
});

async function checksum(blob) {
	let sum = -1;
	const reader = blob.stream().getReader();
	for (let part; !(part = await reader.read()).done; ) {
		for (const byte of part.value) sum = (sum >>> 8) ^ TABLE[(sum ^ byte) & 255];
	}
	return (sum ^ -1) >>> 0;
}

// `files` are of { name, content }, a path and a Blob.
export async function zip(files) {
	const parts = [], entries = [];
	let place = 0;
	for (const { name, content } of files) {
		const path = new TextEncoder().encode(name), sum = await checksum(content);
		// version 2.0, names in UTF-8, stored, no time (1980-01-01)
		const common = [[20, 2], [0x800, 2], [0, 2], [0, 2], [33, 2], [sum, 4], [content.size, 4], [content.size, 4], [path.length, 2], [0, 2]];
		entries.push(packed([0x02014b50, 4], [20, 2], ...common, [0, 2], [0, 2], [0, 2], [0, 4], [place, 4]), path);
		const head = packed([0x04034b50, 4], ...common);
		parts.push(head, path, content);
		place += head.length + path.length + content.size;
		if (place >= 2 ** 32 || parts.length / 3 > 65535) throw new Error("A zip holds 4 GB and 65,535 files at most.");
	}
	const length = entries.reduce((sum, one) => sum + one.length, 0), count = entries.length / 2;
	return new Blob([...parts, ...entries, packed([0x06054b50, 4], [0, 2], [0, 2], [count, 2], [count, 2], [length, 4], [place, 4], [0, 2])], { type: "application/zip" });
}

// Returns numbers, each with its size in bytes, as a file has them.
export function packed(...numbers) {
	const view = new DataView(new ArrayBuffer(numbers.reduce((sum, [, size]) => sum + size, 0)));
	let at = 0;
	for (const [value, size] of numbers) {
		if (size === 2) view.setUint16(at, value, true);
		else view.setUint32(at, value, true);
		at += size;
	}
	return new Uint8Array(view.buffer);
}
