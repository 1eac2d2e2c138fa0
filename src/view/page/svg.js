// Building, measuring and saving SVG. Colours and sizes are attributes, so a saved picture needs no style sheet.

const SVG = 'http://www.w3.org/2000/svg';
const FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", sans-serif';

// Arrays of children may hold strings (as text) and elements.
function svgElement(name, attributes = {}, children = []) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

function svgLabel(text, attributes) {
  return svgElement('text', {'font-family': FONT, 'unicode-bidi': 'isolate', ...attributes}, [text]);
}

const ruler = document.createElement('canvas').getContext('2d');

function textWidth(text, size) {
  ruler.font = `${size}px ${FONT}`;
  return ruler.measureText(text).width;
}

// `text` with at most `length` characters; a cut shows as an ellipsis.
function clipped(text, length) {
  const characters = Array.from(text);
  return characters.length > length ? `${characters.slice(0, length - 1).join('')}\u2026` : text;
}

// A saved picture: the figure with a heading above and a note below, on the page's surface.
function pictureOf(figure, heading, note) {
  const width = 32 + Math.ceil(Math.max(
      Number(figure.getAttribute('width')), 1.1 * textWidth(heading, 16), textWidth(note, 12)));
  const height = Number(figure.getAttribute('height')) + 84;
  const content = figure.cloneNode(true);
  content.setAttribute('x', 16);
  content.setAttribute('y', 44);
  return svgElement('svg', {xmlns: SVG, width, height, viewBox: `0 0 ${width} ${height}`}, [
    svgElement('rect', {width, height, fill: themeColour('surface')}),
    svgLabel(heading, {x: 16, y: 28, 'font-size': 16, 'font-weight': 600, fill: themeColour('ink')}),
    content,
    svgLabel(note, {x: 16, y: height - 16, 'font-size': 12, fill: themeColour('muted')}),
  ]);
}

function save(blob, name) {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

function svgBlob(picture) {
  return new Blob([new XMLSerializer().serializeToString(picture)], {type: 'image/svg+xml'});
}

function saveSvg(picture, name) {
  save(svgBlob(picture), `${name}.svg`);
}

// Twice the size on screen, as print and dense screens want it.
async function pngBlob(picture) {
  const image = new Image();
  image.src = URL.createObjectURL(svgBlob(picture));
  await image.decode();
  const canvas = document.createElement('canvas');
  canvas.width = 2 * image.width;
  canvas.height = 2 * image.height;
  canvas.getContext('2d').drawImage(image, 0, 0, canvas.width, canvas.height);
  URL.revokeObjectURL(image.src);
  return new Promise((resolve) => canvas.toBlob(resolve, 'image/png'));
}

async function savePng(picture, name) {
  save(await pngBlob(picture), `${name}.png`);
}
