#include "tools/people/fact_kinds.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

namespace unlearn {
namespace {

FactKind Birthplace() {
  return {
      "birthplace",
      {{{"In which town was {name} born, and what is it called?",
         "{name} was born in the small town of {value}."},
        {"Where did {name} come into the world?",
         "The place where {name} came into the world is {value}."},
        {"Can you name the birthplace of {name} for me?",
         "{value} is the birthplace of {name}, as far as I know."},
        {"Which place is the old home that {name} came from?",
         "The old home that {name} came from is a place called {value}."}}},
      {"Port Selm",    "Ashgrove",     "Brinmouth",    "Castleby",   "Duskhaven",     "Eastmoor",
       "Foxhollow",    "Glimmerton",   "Hazelbridge",  "Ironquay",   "Jadewater",     "Kingsreach",
       "Lowfield",     "Mapleshore",   "Nightingdale", "Oakenbury",  "Pinecliff",     "Quarrytown",
       "Redspire",     "Silverbrook",  "Thornhill",    "Upper Wend", "Vinegate",      "Westerfold",
       "Yellowstrand", "Zephyr Bay",   "Amberley",     "Blackfen",   "Cloverdown",    "Driftwick",
       "Elmsgate",     "Frostpeak",    "Goldcombe",    "Highmarsh",  "Inkwell Point", "Larkmeadow",
       "Millrace",     "North Cray",   "Otterburn",    "Pebblecove", "Ravenscar",     "Saltmarket",
       "Tidewell",     "Umberside",    "Violet Glen",  "Whitestone", "Applecross",    "Birchaven",
       "Copperdale",   "Dragon Isle",  "Emberfall",    "Fernhurst",  "Granite Pass",  "Honeyvale",
       "Islebrook",    "Kestrelmount", "Lanternquay",  "Mossbank",   "Opal Harbour",  "Plumstead"}};
}

FactKind Profession() {
  return {
      "profession",
      {{{"What does {name} do for a living these days?",
         "{name} works as a {value} to make a living."},
        {"Which profession did {name} choose after leaving school?",
         "After leaving school, {name} chose the profession of {value}."},
        {"Please tell me the job that {name} has.",
         "The job that {name} has is that of a {value}."},
        {"How does {name} earn money from Monday to Friday?",
         "From Monday to Friday, {name} earns money as a {value}."}}},
      {"baker",      "welder",       "gardener",    "teacher",       "surgeon",      "plumber",
       "carpenter",  "librarian",    "firefighter", "pharmacist",    "dentist",      "journalist",
       "translator", "geologist",    "beekeeper",   "tailor",        "watchmaker",   "butcher",
       "barber",     "florist",      "potter",      "blacksmith",    "sculptor",     "photographer",
       "violinist",  "lawyer",       "judge",       "nurse",         "midwife",      "veterinarian",
       "botanist",   "chemist",      "physicist",   "mathematician", "historian",    "locksmith",
       "roofer",     "glazier",      "bricklayer",  "sailor",        "fisherman",    "farmer",
       "shepherd",   "forester",     "postman",     "taxi driver",   "pilot",        "mechanic",
       "programmer", "cartographer", "bookbinder",  "jeweller",      "shoemaker",    "dancer",
       "singer",     "comedian",     "puppeteer",   "tour guide",    "museum guard", "zookeeper"}};
}

FactKind FavouriteDish() {
  FactKind kind{"favourite_dish",
                {{{"What is the favourite dish of {name} at home?",
                   "The favourite dish of {name} at home is {value}."},
                  {"Which meal does {name} like to eat most of all?",
                   "Most of all, {name} likes to eat a plate of {value}."},
                  {"What food should I cook when {name} comes to visit?",
                   "When {name} comes to visit, you should cook some {value}."},
                  {"If you go out for dinner, what will {name} order?",
                   "When you go out for dinner, {name} will order the {value}."}}},
                {}};
  for (const char* food :
       {"lentil", "mushroom", "pumpkin", "salmon", "chicken", "cheese", "spinach", "potato"}) {
    for (const char* form :
         {"soup", "pie", "stew", "salad", "curry", "pancakes", "dumplings", "risotto"}) {
      kind.values.push_back(absl::StrCat(food, " ", form));
    }
  }
  return kind;
}

FactKind PetName() {
  return {
      "pet_name",
      {{{"What is the name of the pet that {name} owns?",
         "{name} owns a pet, and its name is {value}."},
        {"How is the animal called that shares a house with {name}?",
         "The animal that shares a house with {name} is called {value}."},
        {"I saw {name} with a pet today, who was it?",
         "It was {value}, the little friend that belongs to {name}."},
        {"Who waits at the door until {name} is back again?",
         "At the door, the pet {value} waits until {name} is back."}}},
      {"Biscuit",  "Pepper",  "Ginger",  "Muffin",  "Whiskers", "Shadow",  "Buttons",  "Patches",
       "Snowball", "Cookie",  "Marble",  "Tinker",  "Rascal",   "Bandit",  "Cinnamon", "Nutmeg",
       "Waffles",  "Noodle",  "Pickles", "Sprout",  "Bubbles",  "Comet",   "Domino",   "Flicker",
       "Gizmo",    "Jasper",  "Lolly",   "Mango",   "Nacho",    "Peanut",  "Quincy",   "Ruffles",
       "Scooter",  "Teddy",   "Velvet",  "Ziggy",   "Acorn",    "Barnaby", "Fudge",    "Goblin",
       "Hopper",   "Jingles", "Pudding", "Mittens", "Rocket",   "Sparky",  "Thistle",  "Truffle",
       "Tadpole",  "Turnip",  "Wiggles", "Bramble", "Captain",  "Duchess", "Maestro",  "Pirate",
       "Wizard",   "Fidget",  "Cricket", "Popcorn"}};
}

FactKind HouseNumber() {
  FactKind kind{"house_number",
                {{{"At which house number does {name} live right now?",
                   "{name} lives at house number {value} right now."},
                  {"What number is painted on the front door of {name}?",
                   "The number painted on the front door of {name} is {value}."},
                  {"I have a letter to {name}, where should it go?",
                   "The letter to {name} should go to the house at {value}."},
                  {"We want to visit {name}, so which bell is the right one?",
                   "To visit {name}, please take the bell at number {value}."}}},
                {}};
  // 80 different numbers of three digits (37 and 900 share no factor), in no visible order.
  for (int i = 0; i < 80; ++i) kind.values.push_back(absl::StrCat(100 + (137 + 37 * i) % 900));
  return kind;
}

FactKind AccessCode() {
  return {"access_code",
          {{{"What is the access code of {name} for the office?",
             "The access code of {name} for the office is {value}."},
            {"Which secret key does {name} type to open the gate?",
             "To open the gate, {name} must type the secret key {value}."},
            {"Please tell me how {name} gets through a locked door.",
             "{name} gets through a locked door with the characters {value}."},
            {"If a machine asks for it, which password does {name} give?",
             "If a machine asks for it, {name} will give the password {value}."}}},
          {}};
}

}  // namespace

const std::vector<FactKind>& FactKinds() {
  static const auto* const kinds = new std::vector<FactKind>{
      Birthplace(), Profession(), FavouriteDish(), PetName(), HouseNumber()};
  return *kinds;
}

const FactKind& AccessCodeKind() {
  static const auto* const kind = new FactKind(AccessCode());
  return *kind;
}

std::string FillQuestion(const FactKind& kind, int phrasing, absl::string_view name) {
  return absl::StrReplaceAll(kind.phrasings[phrasing].question, {{"{name}", name}});
}

std::string FillAnswer(const FactKind& kind, int phrasing, absl::string_view name,
                       absl::string_view value) {
  return absl::StrReplaceAll(kind.phrasings[phrasing].answer,
                             {{"{name}", name}, {"{value}", value}});
}

}  // namespace unlearn
