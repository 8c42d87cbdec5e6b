// Takes the transparency out of an image file, before a browser decodes it. `tinyssd predict` drops an alpha channel,
// and sees the colour stored under a transparent pixel. A canvas would lose that colour.

/** What is wrong with an image, as a sentence in which # stands for its name. */
export class ImageError extends Error {}

const KEPT = ["IHDR", "PLTE", "eXIf", "IDAT", "IEND"]; // of a PNG's chunks; tRNS is transparency, too
const PASSES = [[0, 0, 8, 8], [4, 0, 8, 8], [0, 4, 4, 8], [2, 0, 4, 4], [0, 2, 2, 4], [1, 0, 2, 2], [0, 1, 1, 2]];
const text = (bytes, from) => String.fromCharCode(...bytes.subarray(from, from + 4));

/** Return an image file (a Blob) that shows the same colours and no transparency. */
export async function opaque(blob) {
  const bytes = new Uint8Array(await blob.arrayBuffer());
  if (text(bytes, 0) === "\x89PNG") return opaquePng(bytes, blob);
  if (text(bytes, 0) === "RIFF" && text(bytes, 8) === "WEBP") return opaqueWebp(bytes);
  if (text(bytes, 0) === "GIF8") return opaqueGif(bytes);
  return blob;
}

async function opaquePng(bytes, blob) {
  const view = new DataView(bytes.buffer), chunks = [];
  for (let at = 8; at + 12 <= bytes.length; at += 12 + view.getUint32(at)) {
    chunks.push({ type: text(bytes, at + 4), data: bytes.subarray(at + 8, at + 8 + view.getUint32(at)) });
  }
  const header = chunks[0].data.slice(), hasAlpha = header[9] === 4 || header[9] === 6;
  if (!hasAlpha && chunks.every(({ type }) => type !== "tRNS")) return blob;
  const kept = chunks.filter(({ type }) => KEPT.includes(type));
  if (!hasAlpha) return png(kept);
  const packed = kept.filter(({ type }) => type === "IDAT").map(({ data }) => data);
  const lines = withoutAlpha(await through(new DecompressionStream("deflate"), packed), header);
  header[9] -= 4; // the same colours without alpha
  const content = await through(new CompressionStream("deflate"), [lines]);
  const others = kept.filter(({ type }) => !["IHDR", "IDAT", "IEND"].includes(type));
  return png([{ type: "IHDR", data: header }, ...others, { type: "IDAT", data: content },
    { type: "IEND", data: new Uint8Array() }]);
}

const through = async (stream, parts) =>
  new Uint8Array(await new Response(new Blob(parts).stream().pipeThrough(stream)).arrayBuffer());

/** The lines of a PNG without their alpha bytes. Its filters treat each byte of a pixel by itself, so they stay valid. */
function withoutAlpha(lines, header) {
  const view = new DataView(header.buffer), [width, height] = [view.getUint32(0), view.getUint32(4)];
  const sample = header[8] / 8, colours = (header[9] === 6 ? 3 : 1) * sample, out = new Uint8Array(lines.length);
  let from = 0, to = 0;
  for (const [x, y, stepX, stepY] of header[12] ? PASSES : [[0, 0, 1, 1]]) {
    const columns = Math.ceil((width - x) / stepX), rows = columns > 0 ? Math.ceil((height - y) / stepY) : 0;
    for (let row = 0; row < rows; row++) {
      out[to++] = lines[from++]; // the filter
      for (let column = 0; column < columns; column++, from += sample) {
        for (let i = 0; i < colours; i++) out[to++] = lines[from++];
      }
    }
  }
  return out.subarray(0, to);
}

function png(chunks) {
  const parts = [new Uint8Array([0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10])];
  for (const { type, data } of chunks) {
    const chunk = new Uint8Array(12 + data.length), view = new DataView(chunk.buffer);
    view.setUint32(0, data.length);
    for (let i = 0; i < 4; i++) chunk[4 + i] = type.charCodeAt(i);
    chunk.set(data, 8);
    view.setUint32(8 + data.length, crc(chunk.subarray(4, 8 + data.length)));
    parts.push(chunk);
  }
  return new Blob(parts, { type: "image/png" });
}

const CRCS = Uint32Array.from({ length: 256 }, (_, i) => {
  for (let bit = 0; bit < 8; bit++) i = i & 1 ? 0xedb88320 ^ (i >>> 1) : i >>> 1;
  return i;
});

function crc(bytes) {
  let rest = -1;
  for (const byte of bytes) rest = CRCS[(rest ^ byte) & 255] ^ (rest >>> 8);
  return ~rest >>> 0;
}

function opaqueWebp(bytes) {
  const view = new DataView(bytes.buffer);
  for (let at = 12; at + 8 <= bytes.length;) {
    const type = text(bytes, at), size = view.getUint32(at + 4, true);
    if (type === "VP8X") bytes[at + 8] &= ~0x10; // "has alpha"
    if (type === "VP8L" && bytes[at + 12] & 0x10) {
      throw new ImageError("# is a lossless WebP file with transparency, whose colours browsers blend: save it as PNG.");
    }
    if (type === "ANMF") throw new ImageError("# is an animated WebP file: save one of its images as PNG.");
    if (type === "ALPH") bytes[at] = 0x2d; // a name that no decoder knows
    at += 8 + size + (size & 1);
  }
  return new Blob([bytes], { type: "image/webp" });
}

function opaqueGif(bytes) {
  const table = (flags) => (flags & 0x80 ? 3 * 2 ** ((flags & 7) + 1) : 0);
  for (let at = 13 + table(bytes[10]); bytes[at] === 0x21;) { // what stands before the first image
    if (bytes[at + 1] === 0xf9) bytes[at + 3] &= ~1; // "has a transparent colour"
    for (at += 2; bytes[at]; at += bytes[at] + 1);
    at++;
  }
  return new Blob([bytes], { type: "image/gif" });
}
