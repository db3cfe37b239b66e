/** In place of what a library uses in Node only. */
export default {};
