// Make one large sorted .osm.pbf of many copies of small extracts.
//
//     g++ -std=c++17 -O2 -o replicate_osm benchmarks/replicate_osm.cpp -lpthread -lz -lbz2 -lexpat
//     ./replicate_osm OUT.osm.pbf COPIES EXTRACT [EXTRACT ...]
//
// Each copy has ids of its own, spread as far apart as the range of OSM's ids allows (12.5e9 nodes, 1.3e9 ways,
// 18e6 relations), stands at its own longitude (latitudes stay, and with them every area) and has names of its own:
// the last two letters differ from copy to copy, so that the strings of a large file are as many as in a real one.
// Extracts need not be sorted. They are held in memory; the copies are not.

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <map>
#include <vector>

#include <osmium/io/any_input.hpp>
#include <osmium/io/pbf_output.hpp>
#include <osmium/osm.hpp>

using osmium::item_type;
using Buffer = osmium::memory::Buffer;

constexpr item_type kinds[] = {item_type::node, item_type::way, item_type::relation};
constexpr osmium::object_id_type ranges[] = {12'500'000'000, 1'300'000'000, 18'000'000};

int rank_of(item_type kind) { return kind == item_type::node ? 0 : kind == item_type::way ? 1 : 2; }

// Ids of one kind in one extract, and the ids that a copy gives them before it shifts them.
struct Names {
    std::vector<osmium::object_id_type> ids, given;
    osmium::object_id_type span = 0;

    // Gaps between neighbours are kept up to a largest one, so that all fit into a span.
    void draw_together() {
        std::sort(ids.begin(), ids.end());
        ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
        osmium::object_id_type low = 1, high = span;
        auto total = [&](osmium::object_id_type gap) {
            osmium::object_id_type sum = 1;
            for (size_t n = 1; n < ids.size(); ++n) sum += std::min(gap, ids[n] - ids[n - 1]);
            return sum;
        };
        while (low < high) {
            auto middle = (low + high + 1) / 2;
            if (total(middle) < span) low = middle; else high = middle - 1;
        }
        given.resize(ids.size());
        for (size_t n = 0; n < ids.size(); ++n) given[n] = n ? given[n - 1] + std::min(low, ids[n] - ids[n - 1]) : 1;
    }
    osmium::object_id_type of(osmium::object_id_type id, long slot) const {
        return given[std::lower_bound(ids.begin(), ids.end(), id) - ids.begin()] + slot * span;
    }
};

struct Extract {
    Buffer buffer{1UL << 20, Buffer::auto_grow::yes};
    std::vector<const osmium::OSMObject*> objects[3];
    Names names[3];
    osmium::Box box;

    void read(const char* path) {
        std::vector<size_t> places;
        osmium::io::Reader reader{path};
        while (Buffer read = reader.read())
            for (const auto& object : read.select<osmium::OSMObject>()) {
                places.push_back(buffer.committed());
                buffer.add_item(object);
                buffer.commit();
            }
        for (size_t place : places) note(buffer.get<osmium::OSMObject>(place));
        for (auto& kind : objects)
            std::stable_sort(kind.begin(), kind.end(), [](auto a, auto b) { return a->id() < b->id(); });
    }
    void note(const osmium::OSMObject& object) {
        const int kind = rank_of(object.type());
        objects[kind].push_back(&object);
        names[kind].ids.push_back(object.id());
        if (kind == 0) box.extend(static_cast<const osmium::Node&>(object).location());
        if (kind == 1)
            for (const auto& node : static_cast<const osmium::Way&>(object).nodes()) names[0].ids.push_back(node.ref());
        if (kind == 2)
            for (const auto& member : static_cast<const osmium::Relation&>(object).members())
                names[rank_of(member.type())].ids.push_back(member.ref());
    }
};

// Two letters that tell the copy, in place of the last two of a name.
void rename(osmium::OSMObject& object, long copy) {
    for (const auto& tag : object.tags()) {
        const size_t length = std::strlen(tag.value());
        if (std::strcmp(tag.key(), "name") || length < 4) continue;
        auto* last = const_cast<char*>(tag.value()) + length - 2;
        if ((last[0] | last[1]) & 0x80) continue;  // part of a letter beyond ASCII
        last[0] = static_cast<char>('a' + copy / 26 % 26);
        last[1] = static_cast<char>('a' + copy % 26);
    }
}

int main(int argc, char** argv) {
    const long copies = argc > 3 ? std::atol(argv[2]) : 0;
    if (copies < 1) return std::cerr << "usage: replicate_osm OUT.osm.pbf COPIES EXTRACT ...\n", 2;
    const long count = argc - 3;
    std::vector<Extract> extracts(count);
    for (long n = 0; n < count; ++n) {
        extracts[n].read(argv[n + 3]);
        for (int kind = 0; kind < 3; ++kind) {
            extracts[n].names[kind].span = ranges[kind] / (copies * count);
            extracts[n].names[kind].draw_together();
        }
    }
    osmium::io::Header header;
    header.set("sorting", "Type_then_ID");
    osmium::io::Writer writer{osmium::io::File{argv[1], "pbf"}, header, osmium::io::overwrite::allow};
    for (int kind = 0; kind < 3; ++kind)
        for (long n = 0; n < count; ++n)
            for (long copy = 0; copy < copies; ++copy) {
                auto& [_, objects, names, box] = extracts[n];
                const long slot = n * copies + copy;
                const double east = -178.0 + 350.0 / copies * (copy + double(n) / count) - box.left();
                Buffer out{1UL << 20, Buffer::auto_grow::yes};
                for (const auto* object : objects[kind]) {
                    const size_t place = out.committed();
                    out.add_item(*object);
                    out.commit();
                    auto& copied = out.get<osmium::OSMObject>(place);
                    copied.set_id(names[kind].of(object->id(), slot));
                    rename(copied, copy);
                    if (kind == 0) {
                        auto& node = static_cast<osmium::Node&>(copied);
                        if (node.location().valid())
                            node.set_location({node.location().lon() + east, node.location().lat()});
                    } else if (kind == 1) {
                        for (auto& node : static_cast<osmium::Way&>(copied).nodes()) node.set_ref(names[0].of(node.ref(), slot));
                    } else {
                        for (auto& member : static_cast<osmium::Relation&>(copied).members())
                            member.set_ref(names[rank_of(member.type())].of(member.ref(), slot));
                    }
                }
                if (out.committed()) writer(std::move(out));
            }
    writer.close();
}
