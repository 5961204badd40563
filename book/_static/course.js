// What the pages need of a script. Without it they read complete.
"use strict"

// ---- formulas that are wider than their column ----

// They scroll by touch; where one does, the keyboard must reach it, and a shade says so.
function markWide() {
  for (const formula of document.querySelectorAll("div.math > .formula")) {
    const wide = formula.scrollWidth > formula.clientWidth + 1
    formula.classList.toggle("wide", wide)
    if (wide) {
      const number = formula.parentElement.querySelector(".number")
      formula.tabIndex = 0
      formula.setAttribute("role", "group")
      formula.setAttribute("aria-label", `Formula ${number?.textContent ?? ""} scrolls sideways`)
    } else {
      for (const name of ["tabindex", "role", "aria-label"]) formula.removeAttribute(name)
    }
  }
}

// ---- the passage that was searched for ----

// Sphinx marks the words. The page then opens where the most of them stand together.
function showPassage() {
  const marks = [...document.querySelectorAll("article .highlighted")]
    .filter(mark => !mark.closest("mjx-assistive-mml"))
  const words = block =>
    new Set(marks.filter(m => block.contains(m)).map(m => m.textContent.toLowerCase())).size
  const blocks = new Set(marks.map(m => m.closest("p, li, dd, dt, td, pre, h1, h2, h3") ?? m))
  const best = [...blocks].reduce((a, b) => (a && words(a) >= words(b) ? a : b), null)
  if (!best) return
  for (let fold = best.closest("details"); fold; fold = fold.parentElement.closest("details"))
    fold.open = true
  best.scrollIntoView({ block: "center" })
}

// ---- a figure, large ----

function enlarge(image) {
  const dialog = document.createElement("dialog")
  dialog.className = "large"
  dialog.setAttribute("aria-label", "The figure, large; Escape closes it")
  const copy = new Image()
  copy.src = image.src
  copy.alt = image.alt
  const close = document.createElement("button")
  close.textContent = "Close"
  dialog.append(close, copy)
  dialog.addEventListener("click", () => dialog.close())
  dialog.addEventListener("close", () => dialog.remove())
  document.body.append(dialog)
  dialog.showModal()
}

function offerLarge() {
  for (const image of document.querySelectorAll("article figure > img")) {
    const button = document.createElement("button")
    button.className = "enlarge"
    button.setAttribute("aria-label", "Show the figure large")
    button.addEventListener("click", () => enlarge(image))
    image.replaceWith(button)
    button.append(image)
  }
}

addEventListener("DOMContentLoaded", () => {
  offerLarge()
  markWide()
  addEventListener("resize", markWide)
  document.addEventListener("toggle", markWide, true)
  if (!location.hash) setTimeout(showPassage, 50) // Sphinx marks after 10 ms
})
