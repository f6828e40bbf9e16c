"""`main.c`: a program around a model in C that reads numbers and writes numbers."""

from __future__ import annotations

from elman.exporters.chain import Chain

_PROGRAM = """\
/* Reads {items} from standard input and writes the output of each step as a line of numbers.
   The word reset begins a new sequence. With the argument state, the state follows the output in each line.
   With the argument time, it reads nothing and writes the microseconds of a step.

   cc -std=c99 -O3 -march=native {name}.c main.c -lm -o {name} */
#include "{name}.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static {name}_state state;
static float y[{NAME}_OUTPUT_SIZE];

static void print(const float *numbers, size_t count, int first)
{{
    for (size_t j = 0; j < count; j++)
        printf(first && j == 0 ? "%.9g" : " %.9g", (double)numbers[j]);
}}

static int run(int with_state)
{{
    static float numbers[sizeof state / sizeof(float)];
    char word[64];
{declarations}
    {name}_reset(&state);
    while (scanf("%63s", word) == 1) {{
        char *end;
        if (strcmp(word, "reset") == 0{whole}) {{
            {name}_reset(&state);
            continue;
        }}
{read}
        print(y, {NAME}_OUTPUT_SIZE, 1);
        if (with_state) {{
            memcpy(numbers, &state, sizeof state);
            print(numbers, sizeof state / sizeof(float), 0);
        }}
        putchar('\\n');
    }}
{rest}
    return fflush(stdout) == 0 ? 0 : 1;
}}

static int measure(void)
{{
    {input}
    double best = 1e9;
    {name}_reset(&state);
    for (int round = 0; round < 5; round++) {{
        const clock_t begin = clock();
        long steps = 0;
        double seconds;
        do {{
            for (int i = 0; i < 256; i++, steps++)
                {name}_step({argument}, &state, y);
            seconds = (double)(clock() - begin) / (double)CLOCKS_PER_SEC;
        }} while (seconds < 0.02);
        if (seconds / (double)steps < best)
            best = seconds / (double)steps;
    }}
    printf("%.9g\\n", 1e6 * best);
    return 0;
}}

int main(int argc, char **argv)
{{
    if (argc > 1 && strcmp(argv[1], "time") == 0)
        return measure();
    return run(argc > 1 && strcmp(argv[1], "state") == 0);
}}
"""

_NUMBERS = {
    "items": "numbers, {NAME}_INPUT_SIZE for each step,",
    "declarations": "    static float x[{NAME}_INPUT_SIZE];\n    int count = 0;",
    "whole": " && count == 0",
    "read": """\
        x[count] = strtof(word, &end);
        if (end == word || *end != '\\0') {{
            fprintf(stderr, "not a number: %s\\n", word);
            return 2;
        }}
        if (++count < {NAME}_INPUT_SIZE)
            continue;
        count = 0;
        {name}_step(x, &state, y);""",
    "rest": """\
    if (count != 0) {{
        fprintf(stderr, "the last step has %d numbers instead of %d\\n", count, {NAME}_INPUT_SIZE);
        return 2;
    }}""",
    "input": "static const float x[{NAME}_INPUT_SIZE] = {{0.5f}};",
    "argument": "x",
}

_SYMBOLS = {
    "items": "symbols, 0 to {NAME}_SYMBOLS - 1,",
    "declarations": "    long symbol;",
    "whole": "",
    "read": """\
        symbol = strtol(word, &end, 10);
        if (end == word || *end != '\\0' || symbol < 0 || symbol >= {NAME}_SYMBOLS
            || {name}_step((int32_t)symbol, &state, y) != 0) {{
            fprintf(stderr, "not a symbol: %s\\n", word);
            return 2;
        }}""",
    "rest": "",
    "input": "const int32_t symbol = 0;",
    "argument": "symbol",
}


def program(chain: Chain, name: str) -> str:
    """Return the text of the program."""
    parts = _NUMBERS if chain.embedding is None else _SYMBOLS
    texts = {key: text.format(name=name, NAME=name.upper()) for key, text in parts.items()}
    return _PROGRAM.format(name=name, NAME=name.upper(), **texts)
