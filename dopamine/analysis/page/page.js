'use strict';
// Draws a figure when its panel is opened; the page holds numbers only.
const all = JSON.parse(document.getElementById('figures').textContent);
const root = document.documentElement;
const drawn = new Map();

function color(name) {
  const probe = document.createElement('span');
  probe.style.color = `var(--${name})`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

function translucent(hex) {
  const [r, g, b] = [1, 3, 5].map(i => parseInt(hex.slice(i, i + 2), 16));
  return `rgba(${r},${g},${b},0.22)`;
}

function layout(figure, width) {
  const line = color('line');
  const axis = title => ({
    title: {text: title, font: {size: 13}}, gridcolor: line, zerolinecolor: line,
    linecolor: line, automargin: true,
  });
  const found = {
    paper_bgcolor: 'rgba(0,0,0,0)', plot_bgcolor: 'rgba(0,0,0,0)',
    font: {color: color('text'), family: 'system-ui, sans-serif', size: 13},
    margin: {l: 60, r: 15, t: 35, b: 50}, hovermode: 'closest',
    legend: {orientation: 'h', y: -0.2, yanchor: 'top',
      itemsizing: 'constant'},
    xaxis: axis(figure.x), yaxis: axis(figure.y),
    hoverlabel: {namelength: -1},
    modebar: {bgcolor: 'rgba(0,0,0,0)', color: color('faint'),
      activecolor: color('text')},
  };
  if (figure.range) found.yaxis.range = figure.range;
  if (figure.kind === 'bars') {
    found.showlegend = false;
    found.yaxis = {...axis(''), autorange: 'reversed', type: 'category'};
    found.height = 90 + 28 * figure.series.length;
    if (figure.range) found.xaxis.range = figure.range;
    delete found.yaxis.range;
    if (figure.middle !== undefined) found.shapes = [{
      type: 'line', x0: figure.middle, x1: figure.middle, y0: 0, y1: 1,
      yref: 'paper', line: {color: color('faint'), dash: 'dot', width: 1},
    }];
  }
  return found;
}

function lines(figure) {
  const traces = [];
  for (const s of figure.series) {
    const look = all.agents[s.agent];
    const common = {x: s.x, legendgroup: s.agent, mode: 'lines'};
    if (s.low) {
      const edge = {...common, line: {width: 0}, showlegend: false,
        hoverinfo: 'skip'};
      traces.push({...edge, y: s.low});
      traces.push({...edge, y: s.high, fill: 'tonexty',
        fillcolor: translucent(look.color)});
    }
    const interval = s.low
      ? s.low.map((low, i) => low === null ? '' : `[${low}, ${s.high[i]}]`) : [];
    traces.push({...common, y: s.y, name: look.name, text: interval,
      mode: s.x.length < 2 ? 'markers' : 'lines',
      line: {color: look.color, dash: look.dash, width: 2},
      marker: {color: look.color},
      hovertemplate: '%{x}: %{y} %{text}'});
  }
  return traces;
}

function bars(figure) {
  return figure.series.map(s => ({
    type: 'scatter', mode: 'markers', x: [s.value], y: [s.name], name: s.name,
    marker: {color: s.color, size: 11, symbol: 'line-ns', line: {
      color: s.color, width: 3}},
    error_x: s.low === null ? undefined : {type: 'data', symmetric: false,
      array: [s.high - s.value], arrayminus: [s.value - s.low],
      color: s.color, thickness: 7, width: 0},
    hovertemplate: s.low === null ? '%{x}' : `%{x} [${s.low}, ${s.high}]`,
    opacity: 0.85,
  }));
}

function band(figure) {
  const between = (low, high) => ({
    x: figure.at, y: low.map((l, i) => (l + high[i]) / 2),
    half: low.map((l, i) => (high[i] - l) / 2)});
  const wide = between(figure.simultaneous[0], figure.simultaneous[1]);
  const narrow = between(figure.pointwise[0], figure.pointwise[1]);
  const trace = (b, name, thickness, color) => ({
    type: 'scatter', mode: 'markers', x: b.x, y: b.y, name,
    marker: {size: 1, color, symbol: 'square'}, hoverinfo: 'skip',
    error_y: {type: 'data', array: b.half, thickness, width: 0, color}});
  return [
    trace(wide, 'all points together', 3, '#9ecae1'),
    trace(narrow, 'each point alone', 10, '#56a0d3'),
    {type: 'scatter', mode: 'markers', x: figure.at, y: figure.mean,
      name: 'published mean', marker: {symbol: 'line-ew', size: 16,
        color: '#0072b2', line: {width: 2, color: '#0072b2'}}},
    {type: 'scatter', mode: 'markers', x: figure.at, y: figure.ours,
      name: 'these runs', marker: {color: '#d55e00', size: 9}},
  ];
}

const KINDS = {lines, bars, band};

function draw(place) {
  const figure = all.figures[place.dataset.figure];
  Plotly.react(place, KINDS[figure.kind](figure), layout(figure),
    {responsive: true, displaylogo: false,
     modeBarButtons: [['toImage', 'zoom2d', 'pan2d', 'resetScale2d']]});
  drawn.set(place, figure);
}

function drawIn(panel) {
  if (panel.open) panel.querySelectorAll('.figure').forEach(
    place => drawn.has(place) || draw(place));
}

document.querySelectorAll('details').forEach(panel => {
  panel.addEventListener('toggle', () => drawIn(panel));
  drawIn(panel);
});

function isDark() {
  return root.classList.contains('dark') || (!root.classList.contains('light')
    && matchMedia('(prefers-color-scheme: dark)').matches);
}
function redraw() { drawn.forEach((_, place) => draw(place)); }
document.getElementById('theme').addEventListener('click', () => {
  const next = isDark() ? 'light' : 'dark';
  root.classList.remove('light', 'dark');
  root.classList.add(next);
  redraw();
});
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', redraw);
