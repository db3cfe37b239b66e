// Package hal is the board's I/O: it finds pins and sensors, samples them, keeps
// their newest values and a bounded history, lets them be written and claimed,
// and says what each can do. It knows neither the cloud nor the tree of files.
package hal
