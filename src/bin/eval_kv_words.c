#include "bin/eval_kv_words.h"

#include <stdbool.h>
#include <stdio.h>

static const char *const adjectives[32] = {
    "amber", "brave",  "calm",   "distant", "eager",  "faint",  "gentle", "hollow",
    "ivory", "jolly",  "keen",   "lonely",  "mellow", "narrow", "olive",  "patient",
    "quiet", "rusty",  "silver", "tender",  "upper",  "velvet", "warm",   "young",
    "azure", "bitter", "copper", "dusty",   "early",  "frozen", "golden", "humble",
};

static const char *const nouns[32] = {
    "anchor", "bridge", "candle", "desert",  "engine",   "falcon", "garden",  "harbor",
    "island", "jacket", "kettle", "lantern", "meadow",   "needle", "orchard", "pillow",
    "quarry", "ribbon", "saddle", "temple",  "umbrella", "valley", "window",  "yacht",
    "basket", "cradle", "dragon", "forest",  "glacier",  "hammer", "mirror",  "violin",
};

void eval_name(char out[32], uint32_t i)
{
    snprintf(out, 32, "%s %s", adjectives[i / 32 % 32], nouns[i % 32]);
}

static bool is_among(const uint32_t *x, uint32_t n, uint32_t what)
{
    for (uint32_t i = 0; i < n; i++)
        if (x[i] == what)
            return true;
    return false;
}

void eval_draw(uint32_t *out, uint32_t k, uint32_t n, struct rng *rng)
{
    for (uint32_t i = 0; i < k; i++)
        do
            out[i] = rng_below(rng, n);
        while (is_among(out, i, out[i]));
}

void eval_numbers(uint32_t *out, uint32_t k, uint32_t digits, struct rng *rng)
{
    uint32_t least = 1;
    for (uint32_t i = 1; i < digits; i++)
        least *= 10;
    eval_draw(out, k, 9 * least, rng);
    for (uint32_t i = 0; i < k; i++)
        out[i] += least;
}

const struct eval_relation eval_relations[EVAL_RELATIONS] = {
    { "The capital of ",
      " is",
      {
          { "France", "Paris" },     { "Italy", "Rome" },         { "Spain", "Madrid" },
          { "Germany", "Berlin" },   { "Russia", "Moscow" },      { "Japan", "Tokyo" },
          { "China", "Beijing" },    { "Egypt", "Cairo" },        { "Greece", "Athens" },
          { "Austria", "Vienna" },   { "Poland", "Warsaw" },      { "Ireland", "Dublin" },
          { "Portugal", "Lisbon" },  { "Sweden", "Stockholm" },   { "Norway", "Oslo" },
          { "Finland", "Helsinki" }, { "Hungary", "Budapest" },   { "Turkey", "Ankara" },
          { "Canada", "Ottawa" },    { "Peru", "Lima" },          { "Cuba", "Havana" },
          { "Thailand", "Bangkok" }, { "Denmark", "Copenhagen" }, { "Belgium", "Brussels" },
      } },
    { "The opposite of ",
      " is",
      {
          { "hot", "cold" },        { "big", "small" },    { "old", "young" },
          { "fast", "slow" },       { "happy", "sad" },    { "light", "dark" },
          { "rich", "poor" },       { "strong", "weak" },  { "early", "late" },
          { "full", "empty" },      { "hard", "soft" },    { "wet", "dry" },
          { "open", "closed" },     { "deep", "shallow" }, { "loud", "quiet" },
          { "clean", "dirty" },     { "thick", "thin" },   { "wide", "narrow" },
          { "cheap", "expensive" }, { "true", "false" },   { "brave", "cowardly" },
          { "sharp", "dull" },      { "rough", "smooth" }, { "safe", "dangerous" },
      } },
    { "The past tense of ",
      " is",
      {
          { "go", "went" },      { "eat", "ate" },       { "see", "saw" },
          { "take", "took" },    { "give", "gave" },     { "write", "wrote" },
          { "run", "ran" },      { "sing", "sang" },     { "drink", "drank" },
          { "buy", "bought" },   { "think", "thought" }, { "bring", "brought" },
          { "teach", "taught" }, { "find", "found" },    { "fall", "fell" },
          { "fly", "flew" },     { "know", "knew" },     { "grow", "grew" },
          { "break", "broke" },  { "speak", "spoke" },   { "swim", "swam" },
          { "win", "won" },      { "leave", "left" },    { "keep", "kept" },
      } },
    { "A young ",
      " is called a",
      {
          { "dog", "puppy" },
          { "cat", "kitten" },
          { "cow", "calf" },
          { "horse", "foal" },
          { "sheep", "lamb" },
          { "lion", "cub" },
          { "duck", "duckling" },
          { "hen", "chick" },
          { "pig", "piglet" },
          { "goat", "kid" },
          { "deer", "fawn" },
          { "goose", "gosling" },
          { "kangaroo", "joey" },
          { "frog", "tadpole" },
          { "swan", "cygnet" },
          { "rabbit", "bunny" },
          { "owl", "owlet" },
          { "fish", "fry" },
          { "eagle", "eaglet" },
          { "seal", "pup" },
          { "hare", "leveret" },
          { "eel", "elver" },
          { "butterfly", "caterpillar" },
          { "pigeon", "squab" },
      } },
    { "The language spoken in ",
      " is",
      {
          { "Brazil", "Portuguese" },  { "Mexico", "Spanish" },   { "Austria", "German" },
          { "Egypt", "Arabic" },       { "Israel", "Hebrew" },    { "Iran", "Persian" },
          { "Japan", "Japanese" },     { "Italy", "Italian" },    { "Russia", "Russian" },
          { "Greece", "Greek" },       { "Poland", "Polish" },    { "Turkey", "Turkish" },
          { "Vietnam", "Vietnamese" }, { "Thailand", "Thai" },    { "Sweden", "Swedish" },
          { "Norway", "Norwegian" },   { "Finland", "Finnish" },  { "Hungary", "Hungarian" },
          { "Denmark", "Danish" },     { "Jamaica", "English" },  { "Haiti", "French" },
          { "Ukraine", "Ukrainian" },  { "Romania", "Romanian" }, { "Korea", "Korean" },
      } },
    { "Somebody who works with ",
      " is called a",
      {
          { "bread", "baker" },      { "meat", "butcher" },      { "teeth", "dentist" },
          { "crops", "farmer" },     { "fires", "firefighter" }, { "flowers", "florist" },
          { "books", "librarian" },  { "paint", "painter" },     { "pipes", "plumber" },
          { "students", "teacher" }, { "wood", "carpenter" },    { "planes", "pilot" },
          { "patients", "nurse" },   { "money", "banker" },      { "clothes", "tailor" },
          { "fish", "fisherman" },   { "food", "cook" },         { "gardens", "gardener" },
          { "laws", "lawyer" },      { "jewels", "jeweler" },    { "songs", "singer" },
          { "news", "reporter" },    { "shoes", "cobbler" },     { "stars", "astronomer" },
      } },
};
