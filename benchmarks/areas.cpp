// Areas by libosmium alone, as its own examples make them: the fair opponent, in plain C++.
//
//     g++ -std=c++17 -O3 -DNDEBUG -march=native -o areas benchmarks/areas.cpp -lpthread -lz -lbz2 -lexpat
//     ./areas FILE.osm.pbf KEYS.txt
//
// Two passes: relations, then nodes (locations in memory), ways and areas. KEYS.txt has a tag a line, KEY or
// KEY=VALUE; ways and relations with none of them are left out. Writes WKB into memory and prints counts.

#include <fstream>
#include <iostream>
#include <string>

#include <osmium/area/assembler.hpp>
#include <osmium/area/multipolygon_manager.hpp>
#include <osmium/geom/wkb.hpp>
#include <osmium/handler/node_locations_for_ways.hpp>
#include <osmium/index/map/flex_mem.hpp>
#include <osmium/io/any_input.hpp>
#include <osmium/tags/tags_filter.hpp>
#include <osmium/visitor.hpp>

using Locations = osmium::index::map::FlexMem<osmium::unsigned_object_id_type, osmium::Location>;


class Writer : public osmium::handler::Handler {
public:
    Writer(const osmium::TagsFilter& filter) : m_filter(filter) {}
    void area(const osmium::Area& area) {
        if (!osmium::tags::match_any_of(area.tags(), m_filter)) return;
        try {
            bytes += m_factory.create_multipolygon(area).size();
            ++count;
        } catch (const osmium::geometry_error&) {
            ++failed;
        }
    }
    size_t count = 0, failed = 0, bytes = 0;

private:
    const osmium::TagsFilter& m_filter;
    osmium::geom::WKBFactory<> m_factory{osmium::geom::wkb_type::wkb, osmium::geom::out_type::binary};
};

int main(int argc, char** argv) {
    if (argc != 3) return std::cerr << "usage: areas FILE.osm.pbf KEYS.txt\n", 2;
    osmium::TagsFilter filter{false};
    std::ifstream keys{argv[2]};
    for (std::string line; std::getline(keys, line);) {
        const auto equal = line.find('=');
        if (equal == std::string::npos)
            filter.add_rule(true, line);
        else
            filter.add_rule(true, line.substr(0, equal), line.substr(equal + 1));
    }
    const osmium::io::File file{argv[1]};
    osmium::area::Assembler::config_type config;
    osmium::area::MultipolygonManager<osmium::area::Assembler> manager{config, filter};
    osmium::relations::read_relations(file, manager);
    Locations index;
    osmium::handler::NodeLocationsForWays<Locations> locations{index};
    locations.ignore_errors();
    Writer writer{filter};
    osmium::io::Reader reader{file, osmium::osm_entity_bits::node | osmium::osm_entity_bits::way};
    osmium::apply(reader, locations, manager.handler([&](osmium::memory::Buffer&& areas) {
        osmium::apply(areas, writer);
    }));
    reader.close();
    std::cout << writer.count << " areas, " << writer.failed << " broken, " << writer.bytes / 1e6 << " MB of WKB\n";
}
