/* Chapter 13 and the first page: the latent plane. Drag a point, see the digit that it decodes to. */

"use strict";

course.explorable("plane", (stage, { w1, b1, w2, b2, codes, labels }) => {
  const { element, plot, handle, picture, slider, say, change } = course;
  const [, hidden] = w1.shape;
  const pixels = b2.length;

  /** The decoder: 2 -> hidden, ReLU -> 784, sigmoid. */
  const h = new Float32Array(hidden);
  const x_hat = new Float32Array(pixels);
  function decode(u, v) {
    for (let i = 0; i < hidden; i++) h[i] = Math.max(b1[i] + u * w1[i] + v * w1[hidden + i], 0);
    x_hat.set(b2);
    for (let i = 0; i < hidden; i++) {
      if (h[i] === 0) continue;
      for (let p = 0, at = i * pixels; p < pixels; p++, at++) x_hat[p] += h[i] * w2[at];
    }
    for (let p = 0; p < pixels; p++) x_hat[p] = 1 / (1 + Math.exp(-x_hat[p]));
    return x_hat;
  }

  const map = plot({
    width: 360, height: 360, x: [-4, 4], y: [-4, 4], ticks: { x: [-3, 0, 3], y: [-3, 0, 3] },
    labels: { x: "z₁", y: "z₂" }, title: "the plane of codes",
  });
  map.svg.classList.add("square");
  const seen = Array.from({ length: 10 }, () => [0, 0, 0]);
  for (let i = 0; i < labels.length; i++) {
    const [a, b, c] = [codes[2 * i], codes[2 * i + 1], labels[i]];
    seen[c] = [seen[c][0] + a, seen[c][1] + b, seen[c][2] + 1];
    if (Math.abs(a) > 4 || Math.abs(b) > 4) continue;
    const [cx, cy] = map.at(a, b);
    map.ink.append(element("circle", { cx, cy, r: 2.6, class: `dot color-${c}` }));
  }
  seen.forEach(([a, b, n], c) => {
    if (n) map.ink.append(course.text(...map.at(a / n, b / n), c, "middle", "class-name"));
  });
  const line = element("line", { class: "mark thin" });
  map.ink.append(line);
  const image = picture(28, 28, "decoded");
  const said = element("p", { class: "explore-says", role: "status" });
  const common = { step: 0.05, say: (a, b) => `${say(a)}, ${say(b)}` };
  const from = handle(map, {
    ...common, label: "start of the path", x: -1.5, y: 0, color: 8, moved: () => walk(),
  });
  const to = handle(map, {
    ...common, label: "end of the path", x: 1.5, y: 0, color: 8, moved: () => walk(),
  });
  const point = handle(map, { ...common, label: "code", x: 0, y: 0, color: 2, moved: () => show() });
  const share = slider({
    label: "along the path", min: 0, max: 1, step: 0.02, value: 0.5, say: (v) => `${Math.round(100 * v)}%`,
    moved: () => walk(),
  });

  /** Put the point on the straight path. */
  function walk() {
    const t = share.value;
    point.put((1 - t) * from.x + t * to.x, (1 - t) * from.y + t * to.y);
    show();
  }

  function show() {
    const [x1, y1] = map.at(from.x, from.y);
    const [x2, y2] = map.at(to.x, to.y);
    change(line, { x1, y1, x2, y2 });
    image.draw(decode(point.x, point.y), `the image decoded from ${say(point.x)}, ${say(point.y)}`);
    let near = 0;
    let best = Infinity;
    for (let i = 0; i < labels.length; i++) {
      const d = (codes[2 * i] - point.x) ** 2 + (codes[2 * i + 1] - point.y) ** 2;
      if (d < best) [near, best] = [labels[i], d];
    }
    said.textContent = `z = (${say(point.x)}, ${say(point.y)}); of the ${labels.length} codes the nearest is that of a ${near}`;
  }

  const side = element("div", { class: "explore-side" }, image.box, share.row, said);
  stage.append(map.svg, side);
  show();
  return {
    set: (v) => {
      point.put(...v.z);
      show();
    },
    read: () => ({ z: [point.x, point.y], x_hat: Array.from(decode(point.x, point.y)) }),
    decode,
  };
});
