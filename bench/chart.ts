/** Lines over a size, both axes logarithmic, as SVG. */
export interface Series {
  readonly name: string;
  readonly points: readonly (readonly [size: number, value: number])[];
}

export interface Chart {
  readonly title: string;
  readonly unit: string;
  readonly series: readonly Series[];
}

const WIDTH = 460;
const HEIGHT = 340;
const MARGIN = { left: 60, right: 150, top: 34, bottom: 40 };
const COLOURS = [
  "#b00020",
  "#1565c0",
  "#2e7d32",
  "#ef6c00",
  "#6a1b9a",
  "#00838f",
  "#5d4037",
  "#546e7a",
];

/** Charts side by side. Values of zero lie on the bottom line. */
export function drawCharts(charts: readonly Chart[]): string {
  const panels = charts.map(
    (chart, at) => `<g transform="translate(${at * WIDTH} 0)">${panel(chart)}</g>`,
  );
  const head = `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH * charts.length}" height="${HEIGHT}" font-family="sans-serif" font-size="11"><title>${charts.map(({ title }) => title).join(", ")}</title>`;
  return `${head}<rect width="100%" height="100%" fill="#fff"/>${panels.join("")}</svg>\n`;
}

function panel({ title, unit, series }: Chart): string {
  const sizes = [...new Set(series.flatMap(({ points }) => points.map(([size]) => size)))].sort(
    (one, other) => one - other,
  );
  const values = series
    .flatMap(({ points }) => points.map(([, value]) => value))
    .filter((value) => value > 0);
  const low = Math.floor(Math.log10(Math.min(...values)));
  const high = Math.max(Math.ceil(Math.log10(Math.max(...values))), low + 1);
  const [first, last] = [Math.log10(sizes[0] as number), Math.log10(sizes.at(-1) as number)];
  const x = (size: number) =>
    MARGIN.left +
    ((Math.log10(size) - first) / Math.max(last - first, 1e-9)) *
      (WIDTH - MARGIN.left - MARGIN.right);
  const y = (value: number) => {
    const share = value > 0 ? (Math.log10(value) - low) / (high - low) : 0;
    return HEIGHT - MARGIN.bottom - share * (HEIGHT - MARGIN.top - MARGIN.bottom);
  };
  const parts = [`<text x="${MARGIN.left}" y="18" font-size="13">${title} (${unit})</text>`];
  for (let power = low; power <= high; power++)
    parts.push(gridLine(y(10 ** power), String(10 ** power)));
  for (const size of sizes)
    parts.push(
      `<text x="${x(size)}" y="${HEIGHT - 18}" text-anchor="middle">${size.toLocaleString("en")}</text>`,
    );
  parts.push(`<text x="${WIDTH - MARGIN.right + 8}" y="${HEIGHT - 18}">objects</text>`);
  for (const [at, line] of series.entries()) parts.push(drawn(line, at, x, y));
  return parts.join("");
}

function gridLine(y: number, label: string): string {
  return tick(MARGIN.left, WIDTH - MARGIN.right, y, label);
}

function drawn(
  { name, points }: Series,
  at: number,
  x: (size: number) => number,
  y: (value: number) => number,
): string {
  const colour = COLOURS[at % COLOURS.length];
  const path = points
    .map(([size, value]) => `${x(size).toFixed(1)},${y(value).toFixed(1)}`)
    .join(" ");
  const dots = points
    .map(
      ([size, value]) =>
        `<circle cx="${x(size).toFixed(1)}" cy="${y(value).toFixed(1)}" r="3" fill="${colour}"/>`,
    )
    .join("");
  const legend = MARGIN.top + 4 + at * 16;
  const label = `<text x="${WIDTH - MARGIN.right + 24}" y="${legend + 4}">${name}</text>`;
  const mark = `<line x1="${WIDTH - MARGIN.right + 8}" x2="${WIDTH - MARGIN.right + 20}" y1="${legend}" y2="${legend}" stroke="${colour}" stroke-width="2"/>`;
  return `<polyline points="${path}" fill="none" stroke="${colour}" stroke-width="2"/>${dots}${mark}${label}`;
}

/** Figures that are watched over time. */
export interface Timeline {
  readonly title: string;
  readonly unit: string;
  /** Seconds from the start, and the value. */
  readonly points: readonly (readonly [seconds: number, value: number])[];
}

/** Timelines below each other, both axes linear and from zero: what is flat looks flat. */
export function drawTimelines(timelines: readonly Timeline[]): string {
  const [width, height] = [700, 160];
  const [left, right, top, bottom] = [60, 20, 26, 26];
  const panels = timelines.map(({ title, unit, points }, at) => {
    const last = Math.max(60, ...points.map(([seconds]) => seconds));
    const most = 1.25 * Math.max(1, ...points.map(([, value]) => value));
    const x = (seconds: number) => left + (seconds / last) * (width - left - right);
    const y = (value: number) => height - bottom - (value / most) * (height - top - bottom);
    const step = 10 ** Math.floor(Math.log10(most / 2));
    const parts = [`<text x="${left}" y="16" font-size="13">${title} (${unit})</text>`];
    for (let value = 0; value <= most; value += step * Math.ceil(most / step / 5))
      parts.push(tick(left, width - right, y(value), String(value)));
    for (let minute = 0; minute * 60 <= last; minute += 5)
      parts.push(
        `<text x="${x(minute * 60)}" y="${height - 8}" text-anchor="middle">${minute} min</text>`,
      );
    const path = points
      .map(([seconds, value]) => `${x(seconds).toFixed(1)},${y(value).toFixed(1)}`)
      .join(" ");
    parts.push(
      `<polyline points="${path}" fill="none" stroke="${COLOURS[at % COLOURS.length]}" stroke-width="2"/>`,
    );
    return `<g transform="translate(0 ${at * height})">${parts.join("")}</g>`;
  });
  const head = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height * timelines.length}" font-family="sans-serif" font-size="11"><title>${timelines.map(({ title }) => title).join(", ")}</title>`;
  return `${head}<rect width="100%" height="100%" fill="#fff"/>${panels.join("")}</svg>\n`;
}

function tick(from: number, to: number, y: number, label: string): string {
  return `<line x1="${from}" x2="${to}" y1="${y}" y2="${y}" stroke="#ddd"/><text x="${from - 6}" y="${y + 4}" text-anchor="end">${label}</text>`;
}
