// What the pages need of a script. Without it they read complete.
"use strict"

// ---- formulas that are wider than their column ----

// They scroll by touch; where one does, the keyboard must reach it, and a shade says so. To measure
// one is to lay out the section around it: those near the window come first, the others when the
// browser has nothing else to do.
function markWide(formula) {
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

function watchFormulas() {
  const formulas = document.querySelectorAll("div.math > .formula")
  const sized = new ResizeObserver(entries => entries.forEach(e => markWide(e.target)))
  formulas.forEach(formula => sized.observe(formula))
  const whenIdle = window.requestIdleCallback ?? (task => setTimeout(task, 20))
  let waiting = []
  const next = () => {
    if (waiting.length === 0) return
    markWide(waiting.shift())
    whenIdle(next)
  }
  const all = () => {
    const idle = waiting.length === 0
    waiting = [...formulas]
    if (idle) whenIdle(next)
  }
  addEventListener("resize", all)
  all()
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

// ---- what a link leads to, shown where it is pointed at ----

let shown = null // the link whose preview is open

function previewOf(link) {
  const name = decodeURIComponent(link.hash.slice(1))
  const kept = name && document.getElementById(`preview-${name}`)
  if (kept) return kept.content.cloneNode(true)
  const words = link.dataset.words ?? link.title
  if (words) {
    link.dataset.words = words // the browser's own yellow box would come too
    link.removeAttribute("title")
    return document.createTextNode(words)
  }
  const here = link.getAttribute("href").startsWith("#") && name && document.getElementById(name)
  if (!here?.matches("div.math, figure")) return null
  const copy = here.cloneNode(true)
  for (const part of [copy, ...copy.querySelectorAll("[id], [tabindex]")]) {
    part.removeAttribute("id")
    part.removeAttribute("tabindex")
  }
  return copy
}

function show(link, box) {
  const content = previewOf(link)
  if (!content) return false
  box.replaceChildren(content)
  box.showPopover?.()
  const at = link.getBoundingClientRect()
  const { width, height } = box.getBoundingClientRect()
  const room = document.documentElement.clientWidth
  box.style.left = `${Math.max(8, Math.min(at.left, room - width - 8))}px`
  box.style.top = `${at.top > height + 8 ? at.top - height - 6 : at.bottom + 6}px`
  link.setAttribute("aria-describedby", box.id)
  shown = link
  return true
}

function offerPreviews() {
  const box = document.createElement("div")
  box.id = "preview"
  box.setAttribute("role", "tooltip")
  box.popover = "manual"
  document.body.append(box)
  const hide = () => {
    shown?.removeAttribute("aria-describedby")
    shown = null
    box.hidePopover?.()
  }
  for (const link of document.querySelectorAll("article a.internal")) {
    let touched = false
    link.addEventListener("pointerenter", e => e.pointerType === "mouse" && show(link, box))
    link.addEventListener("pointerleave", e => e.pointerType === "mouse" && hide())
    link.addEventListener("focus", () => link.matches(":focus-visible") && show(link, box))
    link.addEventListener("blur", hide)
    link.addEventListener("pointerdown", e => (touched = e.pointerType === "touch"))
    link.addEventListener("click", e => {
      // The first tap shows, the second follows.
      if (touched && shown !== link && show(link, box)) e.preventDefault()
      else hide()
    })
  }
  addEventListener("keydown", e => e.key === "Escape" && hide())
  addEventListener("scroll", hide, { passive: true })
}

addEventListener("DOMContentLoaded", () => {
  offerPreviews()
  offerLarge()
  watchFormulas()
  if (!location.hash) setTimeout(showPassage, 50) // Sphinx marks after 10 ms
})
