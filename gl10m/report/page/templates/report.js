"use strict";
(() => {
  const payload = JSON.parse(document.getElementById("payload").textContent);
  const numbers = new Intl.NumberFormat("en-US");
  const one = (id) => document.getElementById(id);

  function bytes(text) {
    const letters = atob(text);
    const found = new Uint8Array(letters.length);
    for (let i = 0; i < letters.length; i++) found[i] = letters.charCodeAt(i);
    return found;
  }

  function option(list, value, words) {
    const made = document.createElement("option");
    made.value = value;
    made.textContent = words;
    list.append(made);
  }

  // The map: everything is kilometres east and north; `view` holds its middle and the kilometres of a pixel.
  function startMap(data) {
    const canvas = one("map-canvas");
    const pen = canvas.getContext("2d");
    const count = data.scenes;
    const xy = new Uint16Array(bytes(data.xy).buffer);
    const split = bytes(data.split);
    const state = new Uint16Array(bytes(data.state).buffer);
    const labels = bytes(data.labels);
    const width = count ? labels.length / count : 0;
    const shownSplits = new Set(data.splits.map((_, place) => place));
    const marks = ["●", "▲", "■", "◆", "✚"];
    const colours = ["--a", "--b", "--c", "--ink", "--faint"];
    let wanted = -1;
    let view = { x: 0, y: 0, scale: 1 };
    let waiting = false;

    const east = (i) => data.low[0] + (xy[2 * i] / 65535) * data.size;
    const north = (i) => data.low[1] + (xy[2 * i + 1] / 65535) * data.size;
    const has = (i, number) => (labels[i * width + (number >> 3)] >> (7 - (number & 7))) & 1;
    const isShown = (i) => shownSplits.has(split[i]) && (wanted < 0 || has(i, wanted));

    function fit(box) {
      const wide = canvas.clientWidth || 600, high = canvas.clientHeight || 400;
      const scale = Math.max((box[2] - box[0]) / wide, (box[3] - box[1]) / high) * 1.12;
      view = { x: (box[0] + box[2]) / 2, y: (box[1] + box[3]) / 2, scale: Math.max(scale, 0.005) };
      redraw();
    }

    function boxOf(chosen) {
      const box = [Infinity, Infinity, -Infinity, -Infinity];
      const grow = (x, y) => {
        box[0] = Math.min(box[0], x); box[1] = Math.min(box[1], y);
        box[2] = Math.max(box[2], x); box[3] = Math.max(box[3], y);
      };
      for (let i = 0; i < count; i++) if (chosen < 0 || state[i] === chosen) grow(east(i), north(i));
      if (chosen < 0) {
        for (const rings of Object.values(data.outlines))
          for (const ring of rings) for (let p = 0; p < ring.length; p += 2) grow(ring[p], ring[p + 1]);
      }
      if (box[0] > box[2]) return [-2300, 300, 2300, 3100];
      const least = 6;
      const room = (low, high) => Math.max(0, least - (high - low)) / 2;
      const dx = room(box[0], box[2]), dy = room(box[1], box[3]);
      return [box[0] - dx, box[1] - dy, box[2] + dx, box[3] + dy];
    }

    function trace(rings, toX, toY) {
      pen.beginPath();
      for (const ring of rings) {
        pen.moveTo(toX(ring[0]), toY(ring[1]));
        for (let p = 2; p < ring.length; p += 2) pen.lineTo(toX(ring[p]), toY(ring[p + 1]));
        pen.closePath();
      }
    }

    function mark(kind, x, y, r) {
      pen.beginPath();
      if (kind === 1) { pen.moveTo(x, y - r); pen.lineTo(x + r, y + r * 0.8); pen.lineTo(x - r, y + r * 0.8); }
      else if (kind === 2) pen.rect(x - r * 0.85, y - r * 0.85, r * 1.7, r * 1.7);
      else if (kind === 3) { pen.moveTo(x, y - r); pen.lineTo(x + r, y); pen.lineTo(x, y + r); pen.lineTo(x - r, y); }
      else pen.arc(x, y, r, 0, 7);
      pen.closePath();
      pen.fill();
    }

    function draw() {
      waiting = false;
      const ratio = Math.min(window.devicePixelRatio || 1, 2);
      const wide = canvas.clientWidth, high = canvas.clientHeight;
      canvas.width = wide * ratio;
      canvas.height = high * ratio;
      pen.setTransform(ratio, 0, 0, ratio, 0, 0);
      const theme = getComputedStyle(document.documentElement);
      const colour = (name) => theme.getPropertyValue(name).trim();
      const toX = (x) => (x - view.x) / view.scale + wide / 2;
      const toY = (y) => high / 2 - (y - view.y) / view.scale;
      pen.fillStyle = colour("--page");
      pen.fillRect(0, 0, wide, high);
      pen.lineWidth = 1;
      pen.fillStyle = colour("--land");
      pen.strokeStyle = colour("--strong");
      for (const rings of Object.values(data.outlines)) { trace(rings, toX, toY); pen.fill(); pen.stroke(); }
      for (const ground of data.coverage) {
        if (!one("map-" + ground.sensor)?.checked) continue;
        pen.strokeStyle = colour(ground.sensor === "naip" ? "--a" : "--b");
        pen.lineWidth = 1.5;
        pen.setLineDash(ground.sensor === "naip" ? [] : [6, 4]);
        trace(ground.rings, toX, toY);
        pen.stroke();
        pen.setLineDash([]);
      }
      const shown = drawScenes(toX, toY, wide, high, colour);
      const what = wanted < 0 ? "" : ` with ${data.classes[wanted]}`;
      one("map-status").textContent =
        `${numbers.format(shown)} of ${numbers.format(count)} scenes${what}; the map is ${numbers.format(Math.round(wide * view.scale))} km wide.`;
    }

    function drawScenes(toX, toY, wide, high, colour) {
      let shown = 0;
      // A mark is as large as leaves the others room.
      const crowded = count > 20000 ? 1.1 : count > 2000 ? 1.8 : 4;
      const radius = Math.min(5, crowded * Math.sqrt(Math.max(1, 4 / view.scale)));
      for (let kind = 0; kind < data.splits.length; kind++) {
        pen.fillStyle = colour(colours[kind % colours.length]);
        pen.globalAlpha = radius > 3 ? 0.75 : 1;
        for (let i = 0; i < count; i++) {
          if (split[i] !== kind || !isShown(i)) continue;
          shown++;
          const x = toX(east(i)), y = toY(north(i));
          if (x < -9 || y < -9 || x > wide + 9 || y > high + 9) continue;
          if (radius < 2) pen.fillRect(x - radius, y - radius, 2 * radius, 2 * radius);
          else mark(kind % 4, x, y, radius);
        }
      }
      pen.globalAlpha = 1;
      return shown;
    }

    function redraw() {
      if (!waiting) { waiting = true; requestAnimationFrame(draw); }
    }

    function zoom(factor) { view.scale = Math.min(20, Math.max(0.003, view.scale * factor)); redraw(); }
    function move(right, down) { view.x += right * view.scale; view.y -= down * view.scale; redraw(); }

    const order = data.classes.map((_, number) => number).filter((number) => data.counts[number] > 0);
    order.sort((a, b) => data.counts[b] - data.counts[a]);
    for (const number of order) option(one("map-class"), number, `${data.classes[number]} (${numbers.format(data.counts[number])})`);
    data.states.forEach((name, place) => option(one("map-state"), place, name));
    data.splits.forEach((name, place) => {
      const label = document.createElement("label");
      const box = document.createElement("input");
      box.type = "checkbox";
      box.checked = true;
      box.addEventListener("change", () => {
        if (box.checked) shownSplits.add(place); else shownSplits.delete(place);
        redraw();
      });
      const sign = document.createElement("span");
      sign.className = "mark mark-" + (place % 4);
      sign.textContent = marks[place % 4];
      sign.setAttribute("aria-hidden", "true");
      label.append(box, " ", sign, " " + name + " ");
      one("map-splits").append(label);
    });
    one("map-controls").addEventListener("submit", (event) => event.preventDefault());
    one("map-class").addEventListener("change", (event) => { wanted = Number(event.target.value); redraw(); });
    one("map-state").addEventListener("change", (event) => fit(boxOf(Number(event.target.value))));
    for (const sensor of ["naip", "sentinel-2"]) one("map-" + sensor).addEventListener("change", redraw);
    one("map-in").addEventListener("click", () => zoom(0.6));
    one("map-out").addEventListener("click", () => zoom(1 / 0.6));
    canvas.addEventListener("keydown", (event) => {
      const steps = { ArrowLeft: [-60, 0], ArrowRight: [60, 0], ArrowUp: [0, -60], ArrowDown: [0, 60] }[event.key];
      if (steps) { move(...steps); event.preventDefault(); }
      else if (event.key === "+" || event.key === "=") zoom(0.6);
      else if (event.key === "-") zoom(1 / 0.6);
    });
    let held = null;
    canvas.addEventListener("pointerdown", (event) => { held = event; canvas.setPointerCapture(event.pointerId); });
    canvas.addEventListener("pointermove", (event) => {
      if (!held) return;
      move(held.clientX - event.clientX, held.clientY - event.clientY);
      held = event;
    });
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => { held = null; });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
    new ResizeObserver(redraw).observe(canvas);
    fit(boxOf(-1));
  }

  // The matrix: point at a cell, or walk with the arrow keys.
  function startMatrix(data) {
    const holder = one("matrix");
    const drawing = holder.querySelector("svg");
    const side = data.names.length;
    const cell = 12, left = 110, top = 100;
    let row = 0, column = side > 1 ? 1 : 0;
    const frame = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    frame.setAttribute("class", "chosen");
    frame.setAttribute("width", 12);
    frame.setAttribute("height", 12);

    function tell() {
      const both = data.both[row * side + column], whole = data.both[row * side + row];
      drawing.append(frame);
      frame.setAttribute("x", left + cell * column - 0.5);
      frame.setAttribute("y", top + cell * row - 0.5);
      one("matrix-readout").textContent = row === column
        ? `${data.names[row]}: ${numbers.format(whole)} scenes`
        : `Of ${numbers.format(whole)} scenes with ${data.names[row]}, ${numbers.format(both)} (${((100 * both) / whole).toFixed(1)} %) also have ${data.names[column]}`;
    }

    drawing.addEventListener("pointermove", (event) => {
      const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(drawing.getScreenCTM().inverse());
      const found = [Math.floor((at.y - top) / cell), Math.floor((at.x - left) / cell)];
      if (found.some((place) => place < 0 || place >= side)) return;
      [row, column] = found;
      tell();
    });
    holder.addEventListener("keydown", (event) => {
      const steps = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
      if (!steps) return;
      row = Math.min(side - 1, Math.max(0, row + steps[0]));
      column = Math.min(side - 1, Math.max(0, column + steps[1]));
      event.preventDefault();
      tell();
    });
  }

  const begun = performance.now();
  if (payload.map) startMap(payload.map);
  if (payload.together) startMatrix(payload.together);
  document.documentElement.dataset.ready = (performance.now() - begun).toFixed(1);
})();
