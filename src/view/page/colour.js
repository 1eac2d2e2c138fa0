// Colours that carry numbers: one blue scale whose steps are even to the eye, for a light and for a dark page.

// OKLCH (Ottosson, "A perceptual color space for image processing", 2020): lightness in [0, 1], chroma, hue in degrees.
function oklchToLinear(lightness, chroma, hue) {
  const a = chroma * Math.cos(hue * Math.PI / 180);
  const b = chroma * Math.sin(hue * Math.PI / 180);
  const l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3;
  return [
    4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
    -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
    -0.0041960863 * l - 0.7034186147 * m + 1.7076147010 * s,
  ];
}

function toByte(linear) {
  const encoded = linear <= 0.0031308 ? 12.92 * linear : 1.055 * linear ** (1 / 2.4) - 0.055;
  return Math.round(255 * Math.min(1, Math.max(0, encoded)));
}

// [red, green, blue] bytes; a colour no screen can show gives up chroma and keeps its lightness.
function oklch(lightness, chroma, hue) {
  const shown = (linear) => linear.every((value) => value > -1e-4 && value < 1 + 1e-4);
  let linear = oklchToLinear(lightness, chroma, hue);
  for (let c = chroma; c > 0 && !shown(linear); c -= 0.002) linear = oklchToLinear(lightness, c, hue);
  return linear.map(toByte);
}

// The scale from weight 0 (the page's surface) to weight 1, in 256 steps of equal lightness.
function blueScale(dark) {
  const hue = 258;
  return Array.from({length: 256}, (_, step) => {
    const t = step / 255;
    return dark ? oklch(0.225 + 0.695 * t, 0.022 + 0.16 * Math.sin(0.75 * Math.PI * t), hue)
                : oklch(1 - 0.615 * t, 0.21 * t, hue);
  });
}

const scales = {light: blueScale(false), dark: blueScale(true)};

function prefersDark() {
  return matchMedia('(prefers-color-scheme: dark)').matches;
}

function currentScale() {
  return prefersDark() ? scales.dark : scales.light;
}

// [red, green, blue] of a value in [0, 1].
function rgbOf(value) {
  return currentScale()[Math.round(255 * Math.min(1, Math.max(0, value)))];
}

function css(rgb) {
  return `rgb(${rgb.join(' ')})`;
}

function luminance(rgb) {
  const [r, g, b] = rgb.map((byte) => {
    const value = byte / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

// Black or white, whichever is read more easily on `rgb` (at least 4.5:1 on any colour).
function inkOn(rgb) {
  return luminance(rgb) > 0.179 ? '#000' : '#fff';
}

// A colour of the style sheet, by the name of its custom property.
function themeColour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}
