/* Chapter 02: how many numbers does a digit need? One slider for the size of the code. */

"use strict";

course.explorable("pca", (stage, { names, sizes, originals, pictures, errors, eigenvalues, lost }) => {
  const { element, plot, slider, choice, picture, say, change } = course;
  const count = sizes.length;
  const spectrum = plot({
    height: 210, x: [0, 64], y: [0, Math.max(...eigenvalues) * 1.05],
    ticks: { x: [1, 8, 16, 32, 48, 64], y: [0, 0.2, 0.4, 0.6] },
    labels: { x: "direction", y: "variance" }, title: "variance along each principal direction",
  });
  const bars = Array.from(eigenvalues, (value, i) => {
    const [x, y] = spectrum.at(i + 0.6, value);
    const [end, foot] = spectrum.at(i + 1.4, 0);
    return element("rect", { x, y, width: end - x, height: foot - y });
  });
  spectrum.ink.append(...bars);
  const original = picture(8, 8, "held-out digit");
  const back = picture(8, 8, "from its code");
  const said = element("p", { class: "explore-says", role: "status" });
  const digit = choice({ label: "digit", names, value: 3, moved: show });
  const size = slider({
    label: "numbers in the code", min: 0, max: count - 1, step: 1, value: 8,
    say: (v) => String(sizes[v]), moved: show,
  });
  const error = () => errors[digit.value * count + size.value];

  function show() {
    const k = sizes[size.value];
    bars.forEach((bar, i) => change(bar, { class: `bar ${i < k ? "color-0" : "color-3"}` }));
    const of = (digit.value * count + size.value) * 64;
    original.draw(originals.subarray(64 * digit.value, 64 * digit.value + 64), `the digit ${names[digit.value]}`);
    back.draw(pictures.subarray(of, of + 64), `the digit ${names[digit.value]} from ${k} ${k === 1 ? "number" : "numbers"}`);
    said.textContent =
      `${k} of 64 numbers: squared error ${say(error(), 2)} for this digit; ` +
      `of the variance of all held-out digits ${lost[size.value] < 0.01 ? "less than 1" : say(100 * lost[size.value], 0)}% is lost`;
  }

  stage.append(original.box, back.box, digit.row, size.row, spectrum.svg, said);
  show();
  return {
    set: (v) => {
      digit.value = v.digit;
      size.value = sizes.indexOf(v.k);
      show();
    },
    read: () => ({ k: sizes[size.value], error: error(), lost: lost[size.value] }),
  };
});
