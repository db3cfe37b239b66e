/** The URL of the cloud: what the server wrote as the base of the page, also behind a proxy under a path. */
export const base = new URL(document.querySelector('base')?.getAttribute('href') ?? '/', location.origin);
