// What ssd_common's numpy reference computes (boxes.py, anchors.py, targets.py, detection.py), in JavaScript.
// A box is [xmin, ymin, xmax, ymax], in fractions of the image. Numbers are float64, in the reference's order.

export function iou(a, b) {
  const areaA = (a[2] - a[0]) * (a[3] - a[1]), areaB = (b[2] - b[0]) * (b[3] - b[1]);
  if (!(a[2] > a[0] && a[3] > a[1] && b[2] > b[0] && b[3] > b[1])) return 0;
  const width = Math.max(Math.min(a[2], b[2]) - Math.max(a[0], b[0]), 0);
  const height = Math.max(Math.min(a[3], b[3]) - Math.max(a[1], b[1]), 0);
  const inter = width * height;
  return inter / (areaA + areaB - inter);
}

/** The anchors of a square feature map: at every unit, all sizes with the first ratio, then the other ratios. */
export function multiboxPrior(mapSize, sizes, ratios) {
  const shapes = [...sizes.map((size) => [size, ratios[0]]), ...ratios.slice(1).map((ratio) => [sizes[0], ratio])]
    .map(([size, ratio]) => [size * Math.sqrt(ratio) / 2, size / Math.sqrt(ratio) / 2]);
  const anchors = [];
  for (let row = 0; row < mapSize; row++) {
    for (let column = 0; column < mapSize; column++) {
      const x = (column + 0.5) * (1 / mapSize), y = (row + 0.5) * (1 / mapSize);
      for (const [w, h] of shapes) anchors.push([x - w, y - h, x + w, y + h]);
    }
  }
  return anchors;
}

/** Which box each anchor is assigned to (-1: none), why ("threshold" or "claimed"), and all overlaps. */
export function assignAnchors(boxes, anchors, threshold) {
  const overlaps = boxes.map((box) => anchors.map((anchor) => iou(box, anchor)));
  const assigned = new Array(anchors.length).fill(-1), why = new Array(anchors.length).fill("");
  anchors.forEach((_, anchor) => {
    let best = 0;
    for (let box = 1; box < boxes.length; box++) if (overlaps[box][anchor] > overlaps[best][anchor]) best = box;
    if (boxes.length && overlaps[best][anchor] >= threshold) [assigned[anchor], why[anchor]] = [best, "threshold"];
  });
  // Then every box claims the best anchor that is left, the pair with the largest overlap first.
  const boxesLeft = new Set(boxes.keys()), taken = new Set();
  while (boxesLeft.size) {
    let most = 0, pair = null;
    for (let anchor = 0; anchor < anchors.length; anchor++) {
      if (taken.has(anchor)) continue;
      for (const box of boxesLeft) if (overlaps[box][anchor] > most) [most, pair] = [overlaps[box][anchor], [box, anchor]];
    }
    if (!pair) break;
    const [box, anchor] = pair;
    if (assigned[anchor] !== box) why[anchor] = "claimed";
    assigned[anchor] = box;
    boxesLeft.delete(box);
    taken.add(anchor);
  }
  return { assigned, why, overlaps };
}

/** Scores, classes and boxes of one image, from the network's outputs. */
export function decode({ anchors, cls_preds, bbox_preds }, { class_names, clip }) {
  const columns = class_names.length + 1, found = [];
  for (let i = 0; i < anchors.length / 4; i++) {
    const logits = cls_preds.subarray(i * columns, (i + 1) * columns), largest = Math.max(...logits);
    const exponentials = Array.from(logits, (logit) => Math.exp(logit - largest));
    const sum = exponentials.reduce((a, b) => a + b);
    let best = 1;
    for (let k = 2; k < columns; k++) if (exponentials[k] > exponentials[best]) best = k;
    const [left, top, right, bottom] = anchors.subarray(4 * i, 4 * i + 4), w = right - left, h = bottom - top;
    const [dx, dy, dw, dh] = bbox_preds.subarray(4 * i, 4 * i + 4);
    const x = dx * w / 10 + (left + right) / 2, y = dy * h / 10 + (top + bottom) / 2;
    const halfW = Math.exp(dw / 5) * w / 2, halfH = Math.exp(dh / 5) * h / 2;
    const box = [x - halfW, y - halfH, x + halfW, y + halfH];
    found.push({
      anchor: i, anchorBox: [left, top, right, bottom], classId: best - 1, score: exponentials[best] / sum,
      box: clip ? box.map((side) => Math.min(Math.max(side, 0), 1)) : box,
    });
  }
  return found;
}

/** Non-maximum suppression: { kept, dropped }, best score first; what was dropped says `by` which box and its `iou`. */
export function suppress(found, scoreThreshold, nmsThreshold, { top_k, class_aware }) {
  const candidates = found.filter(({ score }) => score >= scoreThreshold)
    .sort((a, b) => b.score - a.score || a.anchor - b.anchor).slice(0, top_k ?? undefined);
  const kept = [], dropped = [];
  for (const candidate of candidates) {
    const by = kept.find((better) => (!class_aware || better.classId === candidate.classId)
      && iou(better.box, candidate.box) > nmsThreshold);
    if (by) dropped.push({ ...candidate, by, iou: iou(by.box, candidate.box) });
    else kept.push(candidate);
  }
  return { kept, dropped };
}

/** The feature map that an anchor belongs to. */
export function mapOf(anchor, { feature_map_sizes, anchors }) {
  let end = 0;
  return feature_map_sizes.findIndex((size, map) => {
    end += size * size * (anchors.sizes[map].length + anchors.ratios[map].length - 1);
    return anchor < end;
  });
}
