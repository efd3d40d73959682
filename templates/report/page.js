// The page reads without this: it adds a filter, and figures and reasons beside the pointer.
(() => {
  "use strict";
  const byId = (id) => document.getElementById(id);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  const service = byId("by-service");
  const host = byId("by-host");
  const changes = byId("only-changes");
  const cards = all("#fleet .card");
  const others = all("#changes [data-s], .figure");
  const of = (element) => element.dataset.s.split(" ");

  function filter() {
    const wanted = service.value;
    const part = host.value.trim().toLowerCase();
    const only = changes !== null && changes.checked;
    let shown = 0;
    for (const card of cards) {
      const there = card.dataset.h.toLowerCase().split(" ").some((name) => name.includes(part));
      let any = false;
      for (const line of all(".line", card)) {
        const fits = there && (!wanted || of(line).includes(wanted)) &&
          (!only || line.matches(".changed") || line.querySelector(".tag") !== null);
        line.hidden = !fits;
        any = any || fits;
      }
      // A host without any device in a picture is shown where only it is asked for.
      any = any || (there && !wanted && (!only || card.matches(".changed")));
      card.hidden = !any;
      shown += any ? card.dataset.h.split(" ").length : 0;
    }
    for (const element of others) {
      element.hidden = wanted !== "" && !of(element).includes(wanted);
    }
    const hosts = shown === 1 ? "1 host" : `${shown.toLocaleString("en")} hosts`;
    byId("shown").textContent = wanted || part || only ? `${hosts} shown` : "";
  }

  byId("filter").hidden = false;
  byId("filter").addEventListener("input", filter);
  byId("filter").addEventListener("submit", (event) => event.preventDefault());
  // A browser that reloads may have kept what was asked for.
  if (service.value || host.value || (changes !== null && changes.checked)) filter();

  const tip = byId("tip");
  let owner = null;
  let closing = 0;

  function close() {
    clearTimeout(closing);
    tip.hidden = true;
    if (owner !== null) owner.removeAttribute("aria-describedby");
    owner = null;
  }

  function open(link) {
    clearTimeout(closing);
    if (link === owner) return;
    close();
    const figure = byId(link.getAttribute("href").slice(1));
    if (figure === null) return;
    const title = document.createElement("b");
    const label = link.getAttribute("aria-label") || link.textContent;
    const example = "example" in figure.dataset;
    title.textContent = example ? label : label.split(": ")[0];
    tip.replaceChildren(title, figure.querySelector("p").cloneNode(true));
    const change = link.dataset.c === undefined ? null : byId(`c${link.dataset.c}`);
    if (change !== null) {
      const reasons = document.createElement("ul");
      const effect = document.createElement("li");
      effect.textContent = change.querySelector("p .soft").textContent;
      reasons.append(effect, ...all("ul > li", change).map((item) => item.cloneNode(true)));
      tip.append(reasons);
    }
    if (!example) tip.append(figure.querySelector("table").cloneNode(true));
    tip.hidden = false;
    owner = link;
    link.setAttribute("aria-describedby", "tip");
    const box = link.getBoundingClientRect();
    const width = document.documentElement.clientWidth;
    const left = Math.max(16, Math.min(box.left, width - tip.offsetWidth - 16));
    const below = box.bottom + 6 + tip.offsetHeight < innerHeight || box.top < tip.offsetHeight + 6;
    tip.style.left = `${left + scrollX}px`;
    tip.style.top = `${scrollY + (below ? box.bottom + 6 : box.top - tip.offsetHeight - 6)}px`;
  }

  const linkOf = (event) => event.target.closest('#fleet a[href^="#f"]');

  document.addEventListener("pointerover", (event) => {
    const link = linkOf(event);
    if (link !== null) open(link);
    if (link !== null || tip.contains(event.target)) clearTimeout(closing);
    else if (owner !== null && owner !== document.activeElement) closing = setTimeout(close, 150);
    if (link !== null) {
      for (const row of all("tr[data-p]", tip)) {
        row.classList.toggle("hot", event.target.matches(`rect.${row.dataset.p}`));
      }
    }
  });
  document.addEventListener("focusin", (event) => {
    const link = linkOf(event);
    if (link !== null) open(link);
    else if (!tip.contains(event.target)) close();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") close();
  });
  // After a jump the keyboard goes on where the eye is.
  document.addEventListener("click", (event) => {
    if (linkOf(event) !== null) close();
  });
})();
