package store

import (
	"maps"
	"slices"
	"strings"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/geo"
)

// Boards are found by labels and place along two indexes: board_labels has "KEY=VALUE" of each
// label, and boards.cell the cell of the earth that a board is in ([geo.Cell]). Both find a few
// too many (labels may begin alike, a cell is a tenth of a degree wide): who asks looks at what is found.

// labelChars are those of a label that the index has, of PostgreSQL's 2,700 bytes at most.
const labelChars = 200

// labelText is a label in the index.
func labelText(key, value string) string {
	text := key + "=" + value
	n := 0
	for i := range text {
		if n++; n > labelChars {
			return text[:i]
		}
	}
	return text
}

// maxCells is how many ranges of cells a statement looks for: what is spread wider is looked for
// from its first cell to its last.
const maxCells = 128

// rare is how many boards a label has at most that are looked at one by one.
const rare = 4096

// narrow adds that a board is of a project ("": of any), has labels, and is in one of some cells (nil:
// anywhere; a board without a place is nowhere); columns of boards begin with prefix, which is not empty. It
// goes along the index of the rarest label where that is rare, else along that of the cells, else along the
// project's: SQLite does not know which is narrowest.
func (tx *Tx) narrow(f filter, prefix string, project s4t.ProjectID, labels map[string]string, cells []geo.Range) (filter, error) {
	along, least := "", rare+1
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		where := equal(filter{}.and("label = ?", labelText(k, labels[k])), "project", project)
		n, err := one(tx, "count the boards of a label", value[int], `SELECT COUNT(*) FROM (SELECT 1 FROM board_labels`+where.where()+` LIMIT ?) l`, append(where.args, rare+1)...)
		if err != nil {
			return f, err
		}
		if n < least || project == "" && along == "" {
			along, least = k, n
		}
	}
	if along == "" && cells == nil {
		f = equal(f, prefix+"project", project)
	} else {
		f = equal(f, prefix+"project || ''", project) // not along its index
	}
	for k, v := range labels {
		where := equal(filter{}.and("label = ?", labelText(k, v)), "project", project)
		if k == along {
			f = f.and(prefix+"id IN (SELECT board FROM board_labels"+where.where()+")", where.args...)
		} else {
			f = f.and("EXISTS (SELECT 1 FROM board_labels"+where.and("board = "+prefix+"id").where()+" LIMIT 1 OFFSET 0)", where.args...) // OFFSET: for each row, PostgreSQL makes no join of it
		}
	}
	if cells == nil {
		return f, nil
	}
	if len(cells) > maxCells {
		cells = []geo.Range{{First: cells[0].First, Last: cells[len(cells)-1].Last}}
	}
	column := prefix + "cell"
	if along != "" {
		column = "+" + column // not along its index
	}
	in, args := []string{"1 = 0"}, []any{}
	for _, r := range cells {
		in = append(in, column+" BETWEEN ? AND ?")
		args = append(args, r.First, r.Last)
	}
	if len(in) > 1 {
		in = in[1:]
	}
	return f.and(strings.Join(in, " OR "), args...), nil
}

// indexBoard writes what finds a board by its labels; the cell is written with the place.
func (tx *Tx) indexBoard(op string, b Board) error {
	var labels []string
	for k, v := range b.Labels {
		labels = append(labels, labelText(k, v))
	}
	slices.Sort(labels)
	labels = slices.Compact(labels) // two may begin alike
	return insert(tx, op, `INSERT INTO board_labels (label, project, board) VALUES `, labels, func(l string) []any { return []any{l, b.Project, b.ID} }, "")
}

// cellOf is the cell of a place as it is kept: NULL for none.
func cellOf(at *s4t.Location) any {
	if at == nil {
		return nil
	}
	return geo.Cell(*at)
}
