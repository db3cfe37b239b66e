/** In place of what a library uses in Node only. It extends the stream, and makes none. */
export class Duplex {}
export default {};
