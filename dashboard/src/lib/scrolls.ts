/** Lets the keyboard scroll what is wider than its room: it takes the focus while it is. */
export function scrolls(node: HTMLElement): () => void {
  const look = () => {
    if (node.scrollWidth > node.clientWidth + 1) node.tabIndex = 0;
    else node.removeAttribute('tabindex');
  };
  const watch = new ResizeObserver(look);
  watch.observe(node);
  if (node.firstElementChild) watch.observe(node.firstElementChild);
  return () => watch.disconnect();
}
