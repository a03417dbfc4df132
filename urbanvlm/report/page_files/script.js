"use strict";
// What a model said is foreign text: it reaches the page through textContent alone, never as HTML.

function element(tag, kind, text) {
  const made = document.createElement(tag);
  if (kind) made.className = kind;
  if (text !== undefined) made.textContent = text;
  return made;
}

// ---- light and dark ----

function setUpTheme() {
  const button = document.getElementById("theme");
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  // A page from disk may have no storage: the choice then lasts as long as the page.
  const stored = () => { try { return localStorage.getItem("theme"); } catch { return null; } };
  const store = (value) => { try { localStorage.setItem("theme", value); } catch { /* see above */ } };
  const current = () => root.dataset.theme || (system.matches ? "dark" : "light");
  const label = () => {
    const other = current() === "dark" ? "light" : "dark";
    button.textContent = other === "dark" ? "Dark" : "Light";
    button.setAttribute("aria-label", `Show the page in ${other} colours`);
  };
  const before = stored();
  if (before === "dark" || before === "light") root.dataset.theme = before;
  button.addEventListener("click", () => {
    root.dataset.theme = current() === "dark" ? "light" : "dark";
    store(root.dataset.theme);
    label();
  });
  system.addEventListener("change", label);
  button.hidden = false;
  label();
}

// ---- where the reader is ----

function setUpNavigation() {
  const links = new Map([...document.querySelectorAll("nav a")].map((a) => [a.getAttribute("href").slice(1), a]));
  const seen = new Set();
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (entry.isIntersecting) seen.add(entry.target.id);
      else seen.delete(entry.target.id);
    }
    const first = [...links.keys()].find((id) => seen.has(id));
    for (const [id, link] of links) link.classList.toggle("here", id === first);
  }, { rootMargin: "-15% 0px -60% 0px" });
  for (const id of links.keys()) watcher.observe(document.getElementById(id));
}

// ---- tables wider than the screen ----

function setUpTables() {
  const look = (box) => {
    const wider = box.scrollWidth > box.clientWidth + 1;
    box.classList.toggle("scrolls", wider);
    box.previousElementSibling.hidden = !wider;
  };
  // Also when a panel or a fold shows what had no width before.
  const watcher = new ResizeObserver((entries) => {
    requestAnimationFrame(() => entries.forEach((entry) => look(entry.target)));
  });
  for (const box of document.querySelectorAll(".scroll")) watcher.observe(box);
}

// ---- one of several panels ----

function setUpPanels() {
  for (const panels of document.querySelectorAll(".panels")) {
    const select = panels.querySelector("select");
    const show = () => {
      for (const panel of panels.querySelectorAll(":scope > .panel")) {
        panel.classList.toggle("chosen", panel.dataset.panel === select.value);
      }
    };
    select.addEventListener("change", show);
    panels.classList.add("ready");
    panels.querySelector(".choose").hidden = false;
    show();
  }
}

// ---- the gallery of wrong answers ----

const PAGE = 24;
const MARKS = { right: ["✓", "good"], wrong: ["✗", "bad"], near: ["≈", "warn"], unread: ["?", "warn"] };

function setUpGallery() {
  const source = document.getElementById("gallery-data");
  if (!source) return;
  const data = JSON.parse(source.textContent);
  const field = (name) => document.getElementById(`gallery-${name}`);
  const cards = field("cards"), count = field("count"), more = field("more");
  for (const card of data.cards) {
    card.words = [card.question, card.gold, card.subtype, card.id, ...card.replies.map((r) => r.text)]
      .join("\n").toLowerCase();
  }

  const option = (value, text) => {
    const made = element("option", "", text);
    made.value = value;
    return made;
  };
  const fill = (name, all, values) => {
    field(name).append(option("", all), ...values.map(([value, text]) => option(value, text)));
  };
  fill("subtype", "all", [...new Set(data.cards.map((c) => c.subtype))].sort().map((s) => [s, s]));
  fill("model", "all", data.models.map((m) => [m, m]));
  fill("phase", "all", data.phases.map((p) => [p, p]));
  fill("kind", "any wrong", [["wrong", "wrong"], ["near", "number off"], ["unread", "not readable"]]);

  let shown = PAGE;
  const chosen = () => Object.fromEntries(
    ["subtype", "model", "phase", "kind", "text"].map((name) => [name, field(name).value.trim()]));
  const matches = (reply, want) => reply.verdict !== "right"
    && (!want.model || reply.model === want.model)
    && (!want.phase || reply.phase === want.phase)
    && (!want.kind || reply.verdict === want.kind);

  function render() {
    const want = chosen();
    const words = want.text.toLowerCase();
    const found = data.cards.filter((card) => (!want.subtype || card.subtype === want.subtype)
      && (!words || card.words.includes(words)) && card.replies.some((reply) => matches(reply, want)));
    const here = found.reduce((sum, card) => sum + card.replies.filter((reply) => matches(reply, want)).length, 0);
    cards.replaceChildren(...found.slice(0, shown).map((card) => drawCard(card, want)));
    count.textContent = sentence(found.length, here, want);
    more.hidden = found.length <= shown;
    more.textContent = `Show ${Math.min(PAGE, found.length - shown)} more`;
  }

  function sentence(questions, answers, want) {
    const visible = Math.min(shown, questions);
    const plural = (n, word) => `${n} ${word}${n === 1 ? "" : "s"}`;
    let text = `${visible} of ${plural(questions, "question")} shown, with ${plural(answers, "wrong answer")}.`;
    if (!want.text) {
      const all = data.totals.filter((t) => (!want.subtype || t.subtype === want.subtype)
        && (!want.model || t.model === want.model) && (!want.phase || t.phase === want.phase)
        && (!want.kind || t.verdict === want.kind)).reduce((sum, t) => sum + t.count, 0);
      if (all > answers) text += ` ${all - answers} more of them are not in this page.`;
    }
    return text;
  }

  function drawCard(card, want) {
    const made = element("article", "card");
    const picture = element("div", "picture");
    if (data.pictures[card.image]) {
      const img = element("img");
      img.src = data.pictures[card.image];
      img.alt = `picture ${card.image}`;
      img.decoding = "async";
      picture.append(img);
    } else {
      picture.append(element("span", "muted", "picture not found"));
    }
    const said = element("div", "words");
    said.append(
      element("div", "kind", `${card.subtype} · ${card.id}`),
      element("div", "question", card.question),
      element("div", "gold", `Gold: ${card.gold}`),
    );
    const replies = element("ul", "replies");
    for (const reply of card.replies) {
      const line = element("li", matches(reply, want) ? "" : "other");
      const [sign, tone] = MARKS[reply.verdict];
      const text = element("span", "said");
      text.append(element("span", `mark ${tone}`, sign), reply.text.trim() || "(nothing)");
      if (reply.note) text.append(element("span", "note", ` ${reply.note}`));
      line.append(element("span", "who", `${reply.model} ${reply.phase}`), text);
      replies.append(line);
    }
    said.append(replies);
    made.append(picture, said);
    return made;
  }

  const anew = () => { shown = PAGE; render(); };
  const form = document.querySelector(".filters");
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", anew);
  form.addEventListener("reset", () => setTimeout(anew));
  more.addEventListener("click", () => { shown += PAGE; render(); });
  render();
}

setUpTheme();
setUpNavigation();
setUpTables();
setUpPanels();
setUpGallery();
