// How weights are rounded to few bits: pure functions of lists of numbers, shown by quantization.html.
// Each gives [{stored, back}]: what is kept of a weight, and what is read back of it.

// The sixteen values of nf4: quantiles of a normal distribution, from the QLoRA paper (arXiv 2305.14314, appendix E).
const NF4 = [
  -1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
  -0.09105003625154495, 0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
  0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1,
];

const largest = (values) => Math.max(...values.map(Math.abs)) || 1;

// Halves go to the even neighbour, as in the libraries.
function nearest(value) {
  const floor = Math.floor(value);
  const half = value - floor === 0.5;
  return half ? (floor % 2 === 0 ? floor : floor + 1) : Math.round(value);
}

// The largest size becomes 127, and zero stays zero.
function absmax8(values) {
  const scale = 127 / largest(values);
  return values.map((value) => {
    const stored = nearest(value * scale);
    return { stored, back: stored / scale };
  });
}

// The whole range from the smallest to the largest value becomes -128 … 127, so zero moves to a place of its own.
function zeropoint8(values) {
  const low = Math.min(...values), high = Math.max(...values);
  const scale = 255 / (high - low || 1);
  const zero = -nearest(low * scale) - 128;
  return values.map((value) => {
    const stored = Math.max(-128, Math.min(127, nearest(value * scale) + zero));
    return { stored, back: (stored - zero) / scale };
  });
}

// Each value, divided by the largest size, becomes the nearest of sixteen.
function nf4(values) {
  const scale = largest(values);
  return values.map((value) => {
    const distances = NF4.map((level) => Math.abs(level - value / scale));
    const stored = distances.indexOf(Math.min(...distances));
    return { stored, back: NF4[stored] * scale };
  });
}

// The same, but every `size` values have a scale of their own.
function inGroups(round, values, size) {
  const found = [];
  for (let start = 0; start < values.length; start += size) found.push(...round(values.slice(start, start + size)));
  return found;
}

// By how much a value is off on average.
function meanError(values, rounded) {
  return values.reduce((sum, value, index) => sum + Math.abs(value - rounded[index].back), 0) / values.length;
}
