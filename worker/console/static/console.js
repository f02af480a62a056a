// What pages do with a script: the chart of the first page, instants by the viewer's own clock, and links that log in.
// All else is HTML.
(() => {
  "use strict";

  // -- links that log in ----------------------------------------------------------------------------------------------

  // What is behind "#" stays in the browser, also when a page that needs a login leads to the form. The address loses it
  // at once, so that it is not copied on.
  const MARK = "#token=";
  if (location.hash.startsWith(MARK)) {
    const token = location.hash.slice(MARK.length);
    history.replaceState(null, "", location.pathname + location.search);
    const field = document.getElementById("token");
    if (field && !document.querySelector("[role=alert]")) {
      field.value = token;
      field.form.requestSubmit();
    }
  }

  // -- instants -------------------------------------------------------------------------------------------------------

  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const KEY = "ach-own-time";
  let own = false;

  function remember(value) {
    try {
      if (value === undefined) return localStorage.getItem(KEY);
      localStorage.setItem(KEY, value);
    } catch {
      // A browser may keep nothing: the choice is for this page then.
    }
    return null;
  }

  function byOwnClock(time) {
    const at = new Date(time.dateTime);
    if (Number.isNaN(at.valueOf())) return time.dataset.utc;
    const timeStyle = time.dataset.utc.length > "2026-01-01 00:00 UTC".length ? "medium" : "short";
    const place = new Intl.DateTimeFormat("en", { timeZoneName: "short" }).formatToParts(at);
    const abbreviation = place.find((one) => one.type === "timeZoneName").value;
    return `${new Intl.DateTimeFormat("sv", { dateStyle: "short", timeStyle }).format(at)} ${abbreviation}`;
  }

  function writeTimes() {
    for (const time of document.querySelectorAll("time[datetime]")) {
      time.dataset.utc ??= time.textContent;
      const wanted = own ? byOwnClock(time) : time.dataset.utc;
      if (time.textContent !== wanted) time.textContent = wanted;
    }
  }

  function tellOtherClock(event) {
    const time = event.target.closest?.("time[datetime]");
    if (!time) return;
    time.dataset.utc ??= time.textContent;
    time.title = own ? time.dataset.utc : byOwnClock(time);
  }

  document.addEventListener("mouseover", tellOtherClock);

  const button = document.getElementById("own-time");

  function choose(value) {
    own = value;
    document.getElementById("zone").textContent = own ? `All times are by your clock (${zone}).` : "All times are UTC.";
    button.textContent = own ? "Show UTC" : "Show mine";
    writeTimes();
  }

  if (button && zone && !/^(Etc\/)?(UTC|UCT|GMT|Zulu|Universal)$/.test(zone)) {
    button.hidden = false;
    button.addEventListener("click", () => {
      choose(!own);
      remember(own ? "yes" : "no");
    });
    if (remember() === "yes") choose(true);
    new MutationObserver(() => own && writeTimes()).observe(document.body, { childList: true, subtree: true });
  }

  // -- hints by keyboard and touch ------------------------------------------------------------------------------------

  document.addEventListener("click", (event) => {
    const hint = event.target.closest?.(".hint");
    for (const open of document.querySelectorAll(".hint-text")) {
      open.previousElementSibling?.removeAttribute("aria-expanded");
      open.remove();
    }
    if (!hint || hint.dataset.open === "yes") {
      if (hint) delete hint.dataset.open;
      return;
    }
    for (const other of document.querySelectorAll(".hint[data-open]")) delete other.dataset.open;
    const text = document.createElement("span");
    text.className = "hint-text";
    text.setAttribute("role", "status");
    text.textContent = hint.title;
    hint.dataset.open = "yes";
    hint.after(text);
  });

  // -- the chart ------------------------------------------------------------------------------------------------------

  const chart = document.getElementById("chart");
  let plot = null;
  let said = "";

  function colour(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  }

  function readSeries() {
    const series = document.getElementById("series");
    if (!series) return null;
    const { minutes, events, unlocks } = series.dataset;
    return { text: events + unlocks + minutes, data: [minutes, events, unlocks].map((one) => JSON.parse(one)) };
  }

  function options() {
    const axis = { stroke: colour("--soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false } };
    const font = "12px system-ui, sans-serif";
    return {
      width: chart.clientWidth,
      height: 220,
      tzDate: (at) => uPlot.tzDate(new Date(at * 1e3), "UTC"),
      hooks: { setCursor: [(u) => u.cursor.idx == null && u.setLegend({ idx: u.data[0].length - 2 })] },
      cursor: { drag: { x: false, y: false } },
      scales: { y: { range: (_, low, high) => [0, Math.max(high, 1)] }, u: { range: (_, low, high) => [0, Math.max(high, 1)] } },
      axes: [
        { ...axis, font, values: [[3600, "{HH}:{mm}"], [60, "{HH}:{mm}"], [1, "{HH}:{mm}"]] },
        { ...axis, font, stroke: colour("--accent"), size: 56, values: (_, all) => all.map((one) => one.toLocaleString("en")) },
        { ...axis, font, stroke: colour("--second"), size: 44, side: 1, scale: "u", grid: { show: false } },
      ],
      series: [
        { label: "UTC", value: "{HH}:{mm}" },
        { label: "Events", stroke: colour("--accent"), fill: colour("--accent-soft"), width: 2, points: { show: false } },
        { label: "Unlocks", scale: "u", stroke: colour("--second"), width: 2, points: { show: false } },
      ],
    };
  }

  function draw() {
    if (!chart || typeof uPlot === "undefined") return;
    const found = readSeries();
    if (!found) return;
    if (plot && found.text === said) return;
    said = found.text;
    if (plot) plot.setData(found.data);
    else plot = new uPlot(options(), found.data, chart);
    plot.setLegend({ idx: found.data[0].length - 2 });
  }

  function drawAgain() {
    plot?.destroy();
    plot = null;
    draw();
  }

  draw();
  const live = document.getElementById("live");
  if (live) new MutationObserver(draw).observe(live, { childList: true });
  let waiting = 0;
  window.addEventListener("resize", () => {
    clearTimeout(waiting);
    waiting = setTimeout(drawAgain, 100);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAgain);
})();
