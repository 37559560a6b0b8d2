// Metrics as text, in the formats that Prometheus and others read: OpenMetrics 1.0 and Prometheus 0.0.4. What is measured
// stands in metrics.ts.

/** The types of metrics that are used here. */
export type MetricType = "counter" | "gauge" | "histogram" | "info" | "stateset";

/** One number of a family. */
export interface Sample {
  readonly labels?: Readonly<Record<string, string>>;
  readonly value: number;
  /** For histograms: `_bucket`, `_sum` or `_count`. */
  readonly suffix?: string;
}

/** Numbers that belong together. */
export interface Family {
  /** Without `_total` or `_info`, which are added where they belong. */
  readonly name: string;
  readonly type: MetricType;
  readonly help: string;
  readonly samples: readonly Sample[];
}

export type Format = "openmetrics" | "prometheus";

export const CONTENT_TYPES: Readonly<Record<Format, string>> = {
  openmetrics: "application/openmetrics-text; version=1.0.0; charset=utf-8",
  prometheus: "text/plain; version=0.0.4; charset=utf-8",
};

/** Returns the format that a client with this header `Accept` wants most; OpenMetrics when it does not matter to it. */
export function negotiate(accept: string | undefined): Format {
  let openmetrics = -1;
  let prometheus = -1;
  for (const range of (accept ?? "").slice(0, 1_000).toLowerCase().split(",")) {
    const [type = "", ...parameters] = range.split(";").map((part) => part.trim());
    const given = parameters.find((parameter) => parameter.startsWith("q="));
    const quality = given === undefined ? 1 : Number(given.slice(2));
    if (type === "application/openmetrics-text") openmetrics = Math.max(openmetrics, quality);
    else if (type === "text/plain" || type === "text/*") prometheus = Math.max(prometheus, quality);
  }
  return prometheus > Math.max(openmetrics, 0) ? "prometheus" : "openmetrics";
}

/** Returns the families as text. */
export function expose(families: readonly Family[], format: Format): string {
  const lines: string[] = [];
  for (const { name, type, help, samples } of families) {
    const suffix = type === "counter" ? "_total" : type === "info" ? "_info" : "";
    // In the older format what OpenMetrics calls the sample is the family, and there are fewer types.
    const family = format === "openmetrics" ? name : name + suffix;
    const known = type === "info" || type === "stateset" ? "gauge" : type;
    lines.push(
      `# HELP ${family} ${escapeHelp(help, format)}`,
      `# TYPE ${family} ${format === "openmetrics" ? type : known}`,
    );
    for (const sample of samples) {
      lines.push(`${name}${sample.suffix ?? suffix}${labelsOf(sample.labels)} ${numberOf(sample.value)}`);
    }
  }
  if (format === "openmetrics") lines.push("# EOF");
  return `${lines.join("\n")}\n`;
}

function labelsOf(labels: Sample["labels"] = {}): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escapeLabel(value)}"`);
  return pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
}

function escapeLabel(text: string): string {
  return text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll('"', '\\"');
}

function escapeHelp(text: string, format: Format): string {
  const escaped = text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
  return format === "openmetrics" ? escaped.replaceAll('"', '\\"') : escaped;
}

function numberOf(value: number): string {
  if (value === Number.POSITIVE_INFINITY) return "+Inf";
  return value === Number.NEGATIVE_INFINITY ? "-Inf" : String(value);
}
