"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  const layer = $("trail"), table = $("hops"), courses = $("courses"), NS = "http://www.w3.org/2000/svg";
  if (!data.trails.length) return;
  let trail = data.trails[0], step = 0, timer = null;

  const shape = (name, attributes, text) => {
    const made = document.createElementNS(NS, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    layer.appendChild(made);
    return made;
  };
  const cell = (row, text) => { row.insertCell().textContent = text; };

  function draw() {
    layer.replaceChildren();
    const hops = trail.hops.slice(0, step + 1).map((hop, index) => ({ ...hop, n: index + 1 })).filter((hop) => hop.x !== null);
    if (hops.length) {
      shape("polyline", { class: "way", points: hops.map((hop) => `${hop.x},${hop.y}`).join(" ") });
      const last = hops[hops.length - 1], at = new Map();
      hops.forEach((hop) => at.set(`${hop.x},${hop.y}`, hop));
      at.forEach((hop) => {
        shape("circle", { class: hop.dropped ? "dot drop" : "dot", cx: hop.x, cy: hop.y, r: 7.5 });
        shape("text", { class: "dot-text", x: hop.x, y: hop.y + 3.5 }, hop.dropped ? "\u2715" : hop.n);
      });
      shape("circle", { class: "now", cx: last.x, cy: last.y, r: 10.5 });
    }
    for (const row of table.tBodies[0].rows) {
      row.setAttribute("aria-selected", String(row.rowIndex - 1 === step));
      row.tabIndex = row.rowIndex - 1 === step ? 0 : -1;
    }
    const hop = trail.hops[step];
    $("range").value = step;
    const [n, box, was, point, port] = hop.cells;
    $("range").setAttribute("aria-valuetext", `hop ${n}: ${box} ${point}`);
    $("step").textContent = `hop ${n} of ${trail.hops.length}: ${was} at ${box} ${point} ${port}`;
    show(hop);
  }

  function show(hop) {
    const parts = [];
    const head = document.createElement("p");
    head.textContent = `The frame at hop ${hop.cells[0]}, ` + (hop.frame === null ? "which was not kept" :
      hop.evidence === "wire" && !hop.dropped ? "as captured here" :
      "inside a switch: as it was captured last, by the switch's own trace");
    parts.push(head);
    (data.frames[hop.frame] || []).forEach(([name, fields]) => {
      const details = document.createElement("details"), summary = document.createElement("summary");
      details.open = name !== "Raw";
      summary.textContent = name;
      const list = document.createElement("dl");
      fields.forEach(([key, value]) => {
        const dt = document.createElement("dt"), dd = document.createElement("dd");
        dt.textContent = key; dd.textContent = value; list.append(dt, dd);
      });
      details.append(summary, list);
      parts.push(details);
    });
    $("frame").replaceChildren(...parts);
  }

  function fill() {
    const body = document.createElement("tbody");
    trail.hops.forEach((hop, index) => {
      const row = body.insertRow();
      hop.cells.forEach((text) => cell(row, text));
      row.addEventListener("click", () => { stop(); go(index); });
      row.addEventListener("keydown", (event) => {
        const to = { Enter: index, " ": index, ArrowDown: index + 1, ArrowUp: index - 1 }[event.key];
        if (to === undefined) return;
        event.preventDefault(); event.stopPropagation(); stop(); go(to);
        table.tBodies[0].rows[step].focus();
      });
    });
    table.replaceChild(body, table.tBodies[0]);
    $("range").max = trail.hops.length - 1;
  }

  function way(number) {
    stop();
    trail = data.trails[number];
    $("which").value = number;
    document.querySelectorAll("[data-way]").forEach((part) => {
      part.classList.toggle("shown", Number(part.dataset.way) === number);
      if (part.tagName === "TR") part.setAttribute("aria-current", String(Number(part.dataset.way) === number));
    });
    fill();
  }

  function go(to) { step = Math.max(0, Math.min(to, trail.hops.length - 1)); draw(); }
  function stop() { clearInterval(timer); timer = null; $("play").textContent = "Play"; }
  function play() {
    if (timer) { stop(); return; }
    if (step === trail.hops.length - 1) go(0);
    $("play").textContent = "Pause";
    timer = setInterval(() => { if (step === trail.hops.length - 1) stop(); else go(step + 1); }, 700);
  }

  $("play").addEventListener("click", play);
  $("first").addEventListener("click", () => { stop(); go(0); });
  $("back").addEventListener("click", () => { stop(); go(step - 1); });
  $("next").addEventListener("click", () => { stop(); go(step + 1); });
  $("last").addEventListener("click", () => { stop(); go(trail.hops.length); });
  $("range").addEventListener("input", (event) => { stop(); go(Number(event.target.value)); });
  $("which").addEventListener("change", (event) => { way(Number(event.target.value)); go(0); });
  document.querySelectorAll("button.pick").forEach((button) => button.addEventListener("click", () => {
    way(Number(button.dataset.way)); go(trail.hops.length);
  }));
  if ($("others")) $("others").addEventListener("change", (event) => courses.toggleAttribute("hidden", !event.target.checked));
  document.addEventListener("keydown", (event) => {
    if (/^(INPUT|SELECT|BUTTON|SUMMARY)$/.test(event.target.tagName) || event.ctrlKey || event.metaKey || event.altKey) return;
    const keys = { ArrowRight: () => go(step + 1), ArrowLeft: () => go(step - 1), Home: () => go(0),
                   End: () => go(trail.hops.length), " ": play };
    if (!keys[event.key]) return;
    event.preventDefault();
    if (event.key !== " ") stop();
    keys[event.key]();
  });
  way(0);
  go(trail.hops.length);
  document.body.dataset.ready = "yes";
})();
