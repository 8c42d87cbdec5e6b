// Pillow's bilinear resize: weighted means over all covered pixels, in integers of 22 fraction bits, first along rows,
// then along columns, with rounding to 8 bits in between. (Pillow 13 begins with the columns of some images. Then a
// value may differ by 1 of 255.)

const BITS = 22;

function weights(from, to) {
  const scale = from / to, reach = Math.max(scale, 1);
  return Array.from({ length: to }, (_, i) => {
    const center = (i + 0.5) * scale;
    const first = Math.max(Math.trunc(center - reach + 0.5), 0);
    const last = Math.min(Math.trunc(center + reach + 0.5), from);
    const raw = [];
    for (let x = first; x < last; x++) raw.push(Math.max(1 - Math.abs((x - center + 0.5) * (1 / reach)), 0));
    const sum = raw.reduce((a, b) => a + b, 0);
    return { first, parts: raw.map((w) => Math.trunc(w * (1 / sum) * 2 ** BITS + 0.5)) };
  });
}

/** One direction: `lines` lines of `from` pixels become lines of `to` pixels; strides are in bytes, 4 a pixel. */
function pass(pixels, from, to, lines, lineStride, pixelStride, outLineStride, outPixelStride) {
  const out = new Uint8ClampedArray(to * lines * 4);
  weights(from, to).forEach(({ first, parts }, i) => {
    for (let line = 0; line < lines; line++) {
      for (let channel = 0; channel < 4; channel++) {
        let sum = 2 ** (BITS - 1), at = line * lineStride + first * pixelStride + channel;
        for (const part of parts) {
          sum += pixels[at] * part;
          at += pixelStride;
        }
        out[line * outLineStride + i * outPixelStride + channel] = sum >> BITS;
      }
    }
  });
  return out;
}

/** Return RGBA pixels at another size. */
export function resize(pixels, width, height, toWidth, toHeight) {
  const rows = pass(pixels, width, toWidth, height, 4 * width, 4, 4 * toWidth, 4);
  return pass(rows, height, toHeight, toWidth, 4, 4 * toWidth, 4, 4 * toWidth);
}
