package docs

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"

	"signalbox/proto/gen/openapi"
)

// more is what the .proto files cannot say: the APIs written by hand, and the
// shape of errors.
//
//go:embed more.json
var more []byte

// describe returns the description of everything the gateway serves: what was
// generated, with more laid over it.
func describe(version string) ([]byte, error) {
	var d, over map[string]any
	if err := json.Unmarshal(openapi.JSON, &d); err != nil {
		return nil, fmt.Errorf("the generated description: %w", err)
	}
	if err := json.Unmarshal(more, &over); err != nil {
		return nil, fmt.Errorf("more.json: %w", err)
	}
	lay(d, over)
	if info, ok := d["info"].(map[string]any); ok && version != "" {
		info["version"] = fmt.Sprint(info["version"], " (", version, ")")
	}
	if defs, ok := d["definitions"].(map[string]any); ok {
		// gRPC's own error, which is answered in our shape.
		delete(defs, "Status")
		delete(defs, "Any")
	}
	redirect(d, "#/definitions/Status", "#/definitions/Error")
	dropTags(d)
	return json.Marshal(d)
}

// lay puts over onto d: objects are joined, schemas and the rest replaced,
// except that tags are added.
func lay(d, over map[string]any) {
	for k, v := range over {
		old, both := d[k].(map[string]any)
		add, isObject := v.(map[string]any)
		list, isList := d[k].([]any)
		switch {
		case both && isObject && k != "schema":
			lay(old, add)
		case k == "tags" && isList && len(list) > 0 && isObjectList(list):
			if added, ok := v.([]any); ok {
				d[k] = append(list, added...)
			}
		default:
			d[k] = v
		}
	}
}

// isObjectList tells the description's tags from an operation's.
func isObjectList(list []any) bool {
	_, ok := list[0].(map[string]any)
	return ok
}

// redirect makes references to one definition refer to another.
func redirect(v any, from, to string) {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			if k == "$ref" && x == from {
				v[k] = to
				continue
			}
			redirect(x, from, to)
		}
	case []any:
		for _, x := range v {
			redirect(x, from, to)
		}
	}
}

// dropTags removes services that are not served here, such as the one for
// nodes.
func dropTags(d map[string]any) {
	used := map[any]bool{}
	paths, _ := d["paths"].(map[string]any)
	for _, item := range paths {
		methods, _ := item.(map[string]any)
		for _, op := range methods {
			operation, _ := op.(map[string]any)
			tags, _ := operation["tags"].([]any)
			for _, tag := range tags {
				used[tag] = true
			}
		}
	}
	tags, _ := d["tags"].([]any)
	d["tags"] = slices.DeleteFunc(tags, func(t any) bool {
		tag, _ := t.(map[string]any)
		return !used[tag["name"]]
	})
}
