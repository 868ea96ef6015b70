"""The plan of the demo world: where each state's piece lies, which zones it has and what stands in them."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Site:
    """One state's piece of the demo world: 2 x 2 quarter quads, 0.125 degrees on a side."""

    west: float
    """Western edge, degrees, a multiple of 0.0625."""
    south: float
    """Southern edge, degrees, a multiple of 0.0625."""
    climate: str
    """One of RURAL_ZONES."""


SITES: dict[str, Site] = {
    "AZ": Site(-111.75, 32.8125, "arid"),
    "CA": Site(-119.8125, 36.6875, "valley"),
    "CO": Site(-105.0625, 40.375, "mountain"),
    "FL": Site(-81.75, 28.5, "coastal"),
    # Astride -84 degrees, the border of UTM zones 16 and 17.
    "GA": Site(-84.0625, 33.9375, "temperate"),
    "IL": Site(-88.3125, 40.0625, "plains"),
    "ME": Site(-68.8125, 44.75, "coastal"),
    "NC": Site(-78.9375, 35.9375, "temperate"),
    "PA": Site(-76.375, 40.0, "temperate"),
    "TX": Site(-97.1875, 31.3125, "plains"),
    "WA": Site(-119.375, 47.0625, "mountain"),
}
"""Plausible places inside the 11 states: near a town, off the sea."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How large things of one class are, and of which form."""

    length: tuple[float, float]
    """Shortest and longest, metres."""
    aspect: tuple[float, float] = (0.5, 0.9)
    """Width over length."""
    form: str = "box"
    """box, ellipse or blob."""


SHAPES: dict[str, Shape] = {
    "wind_farm": Shape((700, 1100), form="blob"),
    "tunnel_opening": Shape((20, 60), (0.3, 0.5)),
    "shipyard": Shape((200, 450)),
    "runway": Shape((900, 1150), (0.035, 0.05)),
    "railroad": Shape((400, 900), (0.06, 0.15)),
    "toll_booth": Shape((30, 70), (0.3, 0.5)),
    "port": Shape((300, 600)),
    "viaduct": Shape((120, 400), (0.06, 0.12)),
    "overpass": Shape((50, 120), (0.2, 0.35)),
    "highway": Shape((300, 900), (0.04, 0.08)),
    "aquaculture": Shape((150, 400)),
    "air_terminal": Shape((80, 250), (0.25, 0.5)),
    "rail_station": Shape((80, 200), (0.2, 0.4)),
    "prison": Shape((200, 450)),
    "marina": Shape((120, 350)),
    "desert": Shape((900, 1300), form="blob"),
    "shopping_mall": Shape((180, 350)),
    "tower": Shape((10, 25), (0.9, 1.0), "ellipse"),
    "skate_park": Shape((25, 60)),
    "university": Shape((250, 700)),
    "air_hangar": Shape((30, 90)),
    "stadium": Shape((120, 240), (0.7, 0.9), "ellipse"),
    "waste_site": Shape((150, 450), form="blob"),
    "dam": Shape((120, 350), (0.1, 0.2)),
    "police": Shape((30, 70)),
    "helipad": Shape((18, 35), (0.95, 1.0), "ellipse"),
    "beach": Shape((200, 600), (0.15, 0.3), "blob"),
    "garage": Shape((60, 120)),
    "hospital": Shape((120, 320)),
    "airport": Shape((1200, 1300), (0.7, 0.9)),
    "car_dealer": Shape((60, 160)),
    "surface_mine": Shape((250, 700), form="blob"),
    "office": Shape((30, 110)),
    "warehouse": Shape((60, 260)),
    "barn": Shape((15, 45), (0.4, 0.7)),
    "bareland": Shape((150, 500), form="blob"),
    "water_treatment": Shape((120, 320)),
    "sand": Shape((25, 120), form="blob"),
    "football": Shape((110, 125), (0.45, 0.5)),
    "roundabout": Shape((35, 70), (1.0, 1.0), "ellipse"),
    "fire_station": Shape((25, 60)),
    "solar_farm": Shape((200, 650)),
    "supermarket": Shape((50, 110)),
    "construction": Shape((80, 320)),
    "golf_course": Shape((900, 1250), (0.7, 0.95), "blob"),
    "soccer": Shape((90, 115), (0.6, 0.7)),
    "lake": Shape((400, 1000), form="blob"),
    "gas_station": Shape((25, 60)),
    "substation": Shape((40, 150)),
    "river": Shape((300, 900), (0.12, 0.25), "blob"),
    "tennis": Shape((35, 75)),
    "baseball": Shape((80, 130), (0.9, 1.0), "ellipse"),
    "school": Shape((100, 320)),
    "pool": Shape((8, 25), (0.5, 0.8)),
    "religious_building": Shape((20, 60)),
    "meadow": Shape((120, 450), form="blob"),
    "industrial": Shape((400, 1200)),
    "parking": Shape((40, 180)),
    "reserve": Shape((800, 1250), form="blob"),
    "cemetery": Shape((100, 350)),
    "park": Shape((120, 600)),
    "chaparral": Shape((200, 700), form="blob"),
    "wetland": Shape((120, 450), form="blob"),
    "pond": Shape((25, 110), form="blob"),
    "farmland": Shape((220, 480)),
    "forest": Shape((150, 700), form="blob"),
}
"""Slug of the class to its shape."""


@dataclass(frozen=True, slots=True)
class Zone:
    """A kind of neighbourhood, about 1.4 km across."""

    things: dict[str, float]
    """Slug to how many of it stand there on average."""
    grounds: dict[str, float] = field(default_factory=dict)
    """Slug to the chance that one of it fills the zone."""
    streets: bool = False
    """Whether streets and houses fill the gaps."""


ZONES: dict[str, Zone] = {
    "town": Zone(
        {
            "school": 0.8,
            "park": 0.9,
            "cemetery": 0.2,
            "supermarket": 0.3,
            "parking": 2.0,
            "religious_building": 1.2,
            "tennis": 0.5,
            "baseball": 0.5,
            "soccer": 0.4,
            "fire_station": 0.25,
            "pond": 0.3,
            "gas_station": 0.4,
            "substation": 0.2,
            "roundabout": 0.4,
            "office": 0.3,
            "police": 0.12,
            "tower": 0.1,
            "skate_park": 0.15,
            "construction": 0.4,
            "forest": 0.4,
            "meadow": 0.3,
            "pool": 8.0,
        },
        streets=True,
    ),
    "downtown": Zone(
        {
            "university": 0.3,
            "hospital": 1.0,
            "stadium": 0.2,
            "shopping_mall": 0.25,
            "prison": 0.05,
            "park": 1.0,
            "office": 5.0,
            "garage": 1.2,
            "parking": 4.0,
            "police": 0.5,
            "fire_station": 0.4,
            "supermarket": 0.6,
            "rail_station": 0.8,
            "religious_building": 1.5,
            "helipad": 0.3,
            "tower": 0.3,
            "highway": 0.2,
            "overpass": 0.15,
            "school": 0.6,
            "gas_station": 0.7,
            "pool": 1.0,
        },
        streets=True,
    ),
    "retail": Zone(
        {
            "shopping_mall": 0.6,
            "supermarket": 1.2,
            "car_dealer": 1.6,
            "gas_station": 1.4,
            "parking": 6.0,
            "warehouse": 0.8,
            "office": 1.0,
            "overpass": 0.2,
            "highway": 0.3,
            "toll_booth": 0.12,
            "construction": 0.6,
            "pond": 0.6,
            "roundabout": 0.4,
            "viaduct": 0.1,
            "tunnel_opening": 0.05,
            "meadow": 0.5,
            "garage": 0.2,
        },
        streets=True,
    ),
    "industry": Zone(
        {
            "waste_site": 0.4,
            "water_treatment": 0.45,
            "railroad": 0.25,
            "surface_mine": 0.2,
            "construction": 0.6,
            "warehouse": 4.0,
            "parking": 2.0,
            "substation": 0.8,
            "tower": 0.5,
            "pond": 0.5,
            "office": 0.5,
            "solar_farm": 0.15,
            "fire_station": 0.15,
        },
        {"industrial": 0.8},
    ),
    "farm": Zone(
        {
            "wind_farm": 0.04,
            "solar_farm": 0.25,
            "prison": 0.06,
            "aquaculture": 0.08,
            "farmland": 8.0,
            "meadow": 2.0,
            "forest": 1.2,
            "barn": 3.0,
            "pond": 1.2,
            "cemetery": 0.2,
            "religious_building": 0.2,
            "substation": 0.15,
            "wetland": 0.4,
        },
    ),
    "forest": Zone(
        {
            "lake": 0.2,
            "meadow": 1.2,
            "wetland": 0.8,
            "chaparral": 0.3,
            "surface_mine": 0.1,
            "pond": 0.6,
            "tower": 0.3,
            "barn": 0.2,
            "construction": 0.1,
        },
        {"forest": 0.8, "reserve": 0.5},
    ),
    "water": Zone(
        {
            "lake": 1.0,
            "dam": 0.4,
            "beach": 0.5,
            "marina": 0.4,
            "wetland": 1.2,
            "pond": 0.6,
            "park": 0.6,
            "forest": 1.2,
            "aquaculture": 0.12,
            "water_treatment": 0.3,
            "religious_building": 0.1,
        },
    ),
    "dry": Zone(
        {
            "surface_mine": 0.35,
            "solar_farm": 0.5,
            "chaparral": 2.5,
            "bareland": 1.2,
            "sand": 2.0,
            "substation": 0.25,
            "tower": 0.2,
            "wind_farm": 0.05,
        },
        {"desert": 0.2, "reserve": 0.25, "chaparral": 0.2},
    ),
    "airport": Zone(
        {
            "runway": 0.95,
            "air_terminal": 0.8,
            "air_hangar": 3.0,
            "helipad": 0.7,
            "parking": 2.0,
            "tower": 0.4,
        },
        {"airport": 1.0},
    ),
    "golf": Zone(
        {"sand": 8.0, "pond": 2.0, "forest": 1.0, "parking": 0.8, "pool": 0.8, "tennis": 0.5},
        {"golf_course": 1.0},
    ),
    "campus": Zone(
        {
            "stadium": 0.5,
            "football": 0.9,
            "soccer": 1.5,
            "tennis": 1.5,
            "baseball": 1.2,
            "parking": 3.0,
            "skate_park": 0.2,
            "pool": 0.8,
            "office": 0.6,
            "religious_building": 0.3,
            "hospital": 0.4,
            "park": 0.5,
        },
        {"university": 0.5},
        streets=True,
    ),
    "park": Zone(
        {
            "forest": 1.2,
            "pond": 1.2,
            "baseball": 1.5,
            "soccer": 1.5,
            "tennis": 1.2,
            "skate_park": 0.4,
            "pool": 0.6,
            "parking": 1.0,
            "football": 0.3,
            "wetland": 0.3,
            "religious_building": 0.2,
        },
        {"park": 0.9},
    ),
    "harbour": Zone(
        {
            "port": 0.5,
            "shipyard": 0.6,
            "marina": 0.7,
            "industrial": 0.6,
            "river": 0.6,
            "warehouse": 2.0,
            "beach": 0.6,
            "railroad": 0.2,
            "parking": 1.0,
            "tower": 0.4,
            "wetland": 0.6,
        },
    ),
    "junction": Zone(
        {
            "highway": 0.9,
            "viaduct": 0.4,
            "overpass": 1.0,
            "toll_booth": 0.4,
            "tunnel_opening": 0.25,
            "farmland": 2.0,
            "meadow": 1.5,
            "gas_station": 0.8,
            "roundabout": 0.8,
            "parking": 0.6,
            "garage": 0.1,
        },
    ),
}
"""Neighbourhoods by name."""

URBAN_ZONES: dict[str, float] = {
    "town": 6.0,
    "downtown": 1.2,
    "retail": 1.6,
    "industry": 1.2,
    "campus": 0.9,
    "park": 0.8,
    "golf": 0.4,
    "junction": 0.4,
    "airport": 0.15,
}
"""Weights of the zones in a town."""

RURAL_ZONES: dict[str, dict[str, float]] = {
    "temperate": {
        "farm": 4,
        "forest": 4,
        "water": 1,
        "golf": 0.6,
        "park": 0.5,
        "junction": 0.5,
        "industry": 0.4,
        "airport": 0.3,
        "dry": 0.1,
        "harbour": 0.1,
    },
    "arid": {
        "dry": 6,
        "farm": 1.5,
        "forest": 0.2,
        "water": 0.4,
        "golf": 0.6,
        "airport": 0.5,
        "junction": 0.5,
        "industry": 0.5,
        "park": 0.3,
    },
    "valley": {
        "farm": 5,
        "dry": 2,
        "forest": 1,
        "water": 0.8,
        "golf": 0.6,
        "airport": 0.4,
        "junction": 0.6,
        "industry": 0.6,
        "park": 0.4,
        "harbour": 0.2,
    },
    "plains": {
        "farm": 6,
        "forest": 1.2,
        "water": 0.8,
        "airport": 0.5,
        "junction": 0.7,
        "industry": 0.6,
        "dry": 0.6,
        "golf": 0.5,
        "park": 0.5,
    },
    "coastal": {
        "water": 2,
        "harbour": 1.3,
        "forest": 2.5,
        "farm": 1.5,
        "golf": 0.8,
        "park": 0.6,
        "airport": 0.3,
        "junction": 0.4,
    },
    "mountain": {
        "forest": 4,
        "dry": 1.5,
        "farm": 2.5,
        "water": 1,
        "golf": 0.4,
        "park": 0.4,
        "airport": 0.3,
        "junction": 0.4,
        "industry": 0.4,
    },
}
"""Climate to the weights of the zones outside the towns."""
