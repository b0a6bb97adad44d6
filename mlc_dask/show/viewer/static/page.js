// What both pages share: elements, drawings, and questions to the server.

const SVG = "http://www.w3.org/2000/svg";

export const get = (id) => document.getElementById(id);

/** Make an element: properties are set, what is in `style` too, children are nodes or text (never HTML). */
export function make(tag, properties = {}, ...children) {
  const { style, ...own } = properties;
  const made = Object.assign(document.createElement(tag), own);
  for (const [name, value] of Object.entries(style ?? {})) made.style.setProperty(name, value);
  made.append(...children);
  return made;
}

export function draw(tag, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

export async function ask(path, options) {
  const answer = await fetch(`/api${path}`, options);
  const found = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(typeof found.detail === "string" ? found.detail : `error ${answer.status}`);
  return found;
}
