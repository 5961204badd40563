/* Chapter 18: β from 1 to 16. Rate, distortion, reconstructions and traversals of the stored models. */

"use strict";

course.explorable("price", (stage, { betas, rates, distortions, kls, originals, rebuilt, walks, codes }) => {
  const { element, plot, slider, picture, path, text, say, change } = course;
  const plane = plot({
    height: 250, x: [0, 16], y: [0, 100], ticks: { x: [0, 4, 8, 12, 16], y: [0, 25, 50, 75, 100] },
    labels: { x: "rate R, nats", y: "distortion D, nats" }, title: "rate and distortion",
  });
  const tangent = element("path", { class: "line color-1" });
  const dots = Array.from(betas, (beta, i) => {
    const [cx, cy] = plane.at(rates[i], distortions[i]);
    plane.ink.append(text(cx + 10, cy - 8, `β = ${beta}`));
    return element("circle", { cx, cy });
  });
  plane.ink.append(tangent, ...dots);
  const [shown] = originals.shape;
  const [, rows, steps, pixels] = walks.shape;
  const image = (array, i) => array.subarray(i * pixels, (i + 1) * pixels);
  const tile = (name) => picture(28, 28, name);
  const upper = Array.from({ length: shown }, () => tile(""));
  const lower = Array.from({ length: shown }, () => tile(""));
  const table = Array.from({ length: rows }, () => Array.from({ length: steps }, () => tile("")));
  const heads = table.map(() => element("span", { class: "explore-head" }));
  const said = element("p", { class: "explore-says", role: "status" });
  const price = slider({
    label: "β", min: 0, max: betas.length - 1, step: 1, value: 2, say: (i) => String(betas[i]), moved: show,
  });

  function show() {
    const i = price.value;
    dots.forEach((dot, j) =>
      change(dot, { r: j === i ? 8 : 5, class: `dot color-${j === i ? 1 : 0}` }),
    );
    const reach = 3 / Math.hypot(1, betas[i] / 6);
    const ends = [-reach, reach].map((r) => [rates[i] + r, distortions[i] - betas[i] * r]);
    tangent.setAttribute("d", path(plane, ends));
    upper.forEach((box, j) => box.draw(image(originals, j), "a three"));
    lower.forEach((box, j) => box.draw(image(rebuilt, i * shown + j), `the same at β = ${betas[i]}`));
    table.forEach((row, r) => {
      heads[r].textContent = `${say(kls[i * rows + r], 1)} nats`;
      row.forEach((box, s) =>
        box.draw(image(walks, (i * rows + r) * steps + s), `code number ${r + 1} by cost, at ${say(codes[s], 1)}`),
      );
    });
    said.textContent =
      `β = ${betas[i]}: rate ${say(rates[i], 1)} nats, distortion ${say(distortions[i], 1)} nats; ` +
      `D + βR = ${say(distortions[i] + betas[i] * rates[i], 1)}`;
  }

  const strip = (boxes, head) =>
    element("div", { class: "explore-strip" }, head, ...boxes.map((b) => b.box));
  const head = (words) => element("span", { class: "explore-head" }, words);
  stage.append(
    plane.svg,
    price.row,
    said,
    strip(upper, head("original")),
    strip(lower, head("decoded")),
    element("p", { class: "explore-says" }, "One code number from −2 to 2, the others at 0; the costliest first:"),
    ...table.map((row, r) => strip(row, heads[r])),
  );
  show();
  return {
    set: (v) => {
      price.value = betas.indexOf(v.beta);
      show();
    },
    read: () => ({
      beta: betas[price.value], rate: rates[price.value], distortion: distortions[price.value],
    }),
  };
});
