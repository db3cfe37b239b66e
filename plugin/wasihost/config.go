package wasihost

// Config says what a module gets. It sees three folders and nothing else of the board.
type Config struct {
	Module string   // required: path of the .wasm file
	Args   []string // its arguments, without its name
	Env    []string // its environment; paths of the folders are replaced

	Plugin string // required: the folder of the bundle; it sees it as /plugin, and cannot change it
	Data   string // required: its own folder: /data
	Board  string // required: what the board gives it: /board; it cannot change it
}
