/* Chapter 05: noise up and down; what a Wiener filter and the network make of it. */

"use strict";

course.explorable("denoise", (stage, { names, sigmas, clean, eps, wiener, network, decibels }) => {
  const { element, plot, slider, choice, picture, path, text, say, change } = course;
  const count = sigmas.length;
  const kinds = ["noisy", "Wiener", "network"];
  const colors = [3, 1, 0];
  const curves = plot({
    height: 230, x: [0, sigmas[count - 1]], y: [5, 30],
    ticks: { x: [0, 0.2, 0.4, 0.6], y: [5, 10, 15, 20, 25, 30] },
    labels: { x: "standard deviation σ of the noise", y: "PSNR, dB" }, title: "PSNR over all held-out digits",
  });
  const mark = element("line", { class: "axis" });
  curves.ink.append(mark);
  kinds.forEach((kind, j) => {
    const points = Array.from(sigmas, (s, i) => [s, decibels[j * count + i]]);
    curves.ink.append(
      element("path", { class: `line color-${colors[j]}`, d: path(curves, points) }),
      text(...curves.at(0.43, 28 - 3.4 * j), kind, "start", "muted"),
      element("path", {
        class: `line color-${colors[j]}`,
        d: path(curves, [[0.38, 28.7 - 3.4 * j], [0.42, 28.7 - 3.4 * j]]),
      }),
    );
  });
  const boxes = ["clean", ...kinds].map((name) => picture(8, 8, name));
  const said = element("p", { class: "explore-says", role: "status" });
  const digit = choice({ label: "digit", names, value: 1, moved: show });
  const sigma = slider({
    label: "σ", min: 0, max: count - 1, step: 1, value: sigmas.indexOf(0.3),
    say: (i) => say(sigmas[i], 2), moved: show,
  });
  const images = () => {
    const [d, i] = [digit.value, sigma.value];
    const x = clean.subarray(64 * d, 64 * d + 64);
    const at = 64 * (d * count + i);
    const noisy = x.map((v, p) => Math.min(Math.max(v + sigmas[i] * eps[64 * d + p], 0), 1));
    return [x, noisy, wiener.subarray(at, at + 64), network.subarray(at, at + 64)];
  };
  const psnr = (x, other) => -10 * Math.log10(x.reduce((a, v, p) => a + (v - other[p]) ** 2, 0) / 64);

  function show() {
    const drawn = images();
    const own = drawn.slice(1).map((image) => psnr(drawn[0], image));
    boxes.forEach((box, j) => {
      const db = j ? `, ${say(own[j - 1], 1)} dB` : "";
      box.draw(drawn[j], `${["clean", ...kinds][j]} ${names[digit.value]}${db}`);
      box.words.textContent = ["clean", ...kinds][j] + db;
    });
    const [x1, y1] = curves.at(sigmas[sigma.value], 5);
    change(mark, { x1, x2: x1, y1, y2: curves.at(0, 30)[1] });
    const all = kinds.map((kind, j) => [kind, decibels[j * count + sigma.value]]);
    said.textContent =
      `over all held-out digits at σ = ${say(sigmas[sigma.value], 2)}: ` +
      all.map(([kind, d]) => `${kind} ${say(d, 1)} dB`).join(", ");
  }

  stage.append(...boxes.map((b) => b.box), digit.row, sigma.row, curves.svg, said);
  show();
  return {
    set: (v) => {
      digit.value = v.digit;
      sigma.value = sigmas.indexOf(v.sigma);
      show();
    },
    read: () => {
      const [x, ...others] = images();
      return { sigma: sigmas[sigma.value], decibels: others.map((image) => psnr(x, image)) };
    },
  };
});
