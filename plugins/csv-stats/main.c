/* Statistics of each column of a CSV file: csv-stats [-d DELIMITER] < file

   An ordinary program that knows nothing of Wasmill. stdin is the file, with a header, quoted as RFC 4180
   says; stdout, the result, is a table; stderr is the log, and an exit code other than 0 fails the task. */

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COLUMNS_MAX 1000
#define FIELD_BYTES_MAX 65536

struct column {
    char *name;
    long filled, numbers;
    double least, most, mean, squares; /* squares: sum of squared distances from the mean (Welford) */
};

static struct column columns[COLUMNS_MAX];
static char field[FIELD_BYTES_MAX + 1];
static long line = 1;

static void fail(const char *reason) {
    fprintf(stderr, "line %ld: %s\n", line, reason);
    exit(1);
}

/* Reads one field into `field`, and returns what ended it: the delimiter, '\n' or EOF. */
static int read_field(int delimiter) {
    size_t length = 0;
    int quoted = 0, c;
    for (;;) {
        c = getchar();
        if (c == '\n') line++;
        if (c == '"' && !quoted && length == 0) {
            quoted = 1;
            continue;
        }
        if (c == '"' && quoted == 1) {
            c = getchar();
            if (c == '\n') line++;
            if (c != '"') quoted = 2; /* closed; only an end may follow */
        }
        if (quoted != 1 && (c == delimiter || c == '\n' || c == EOF)) break;
        if (quoted != 1 && c == '\r') continue;
        if (c == EOF) fail("a quote is not closed");
        if (quoted == 2) fail("text after a closing quote");
        if (c == 0) fail("a NUL byte: is this text?");
        if (length == FIELD_BYTES_MAX) fail("a field has more than 64 KiB");
        field[length++] = (char)c;
    }
    field[length] = 0;
    return c;
}

static int as_number(const char *text, double *number) {
    char *end;
    if (!*text) return 0;
    *number = strtod(text, &end);
    while (isspace((unsigned char)*end)) end++;
    return *end == 0 && isfinite(*number);
}

static void add(struct column *column) {
    double number, distance;
    if (!*field) return;
    column->filled++;
    if (!as_number(field, &number)) return;
    if (!column->numbers++) column->least = column->most = number;
    if (number < column->least) column->least = number;
    if (number > column->most) column->most = number;
    distance = number - column->mean;
    column->mean += distance / (double)column->numbers;
    column->squares += distance * (number - column->mean);
}

static int read_header(int delimiter) {
    int count = 0, end;
    do {
        end = read_field(delimiter);
        if (count == COLUMNS_MAX) fail("more than 1000 columns");
        if (!(columns[count++].name = strdup(field))) fail("out of memory");
    } while (end == delimiter);
    if (count == 1 && !*columns[0].name) fail("there is no header");
    return count;
}

static long read_rows(int delimiter, int count) {
    long rows = 0, at;
    int place, end;
    do {
        place = 0;
        at = line;
        do {
            end = read_field(delimiter);
            if (place == 0 && end != delimiter && !*field) break; /* an empty line */
            if (place == count) fail("more fields than the header has");
            add(&columns[place++]);
        } while (end == delimiter);
        if (place && place < count) {
            line = at;
            fail("fewer fields than the header has");
        }
        rows += place > 0;
    } while (end != EOF);
    return rows;
}

static void print(int count, long rows) {
    int i;
    printf("%-20s %9s %9s %14s %14s %14s %14s\n", "column", "filled", "numbers", "least", "mean", "most", "deviation");
    for (i = 0; i < count; i++) {
        const struct column *c = &columns[i];
        printf("%-20s %9ld %9ld", c->name, c->filled, c->numbers);
        if (c->numbers) {
            double deviation = c->numbers > 1 ? sqrt(c->squares / (double)(c->numbers - 1)) : 0;
            printf(" %14.6g %14.6g %14.6g %14.6g", c->least, c->mean, c->most, deviation);
        }
        putchar('\n');
    }
    fprintf(stderr, "%ld rows of %d columns\n", rows, count);
}

int main(int argc, char **argv) {
    int delimiter = ',', count;
    long rows;
    if (argc == 3 && !strcmp(argv[1], "-d") && strlen(argv[2]) == 1 && !strchr("\"\r\n", *argv[2])) {
        delimiter = (unsigned char)*argv[2];
    } else if (argc != 1) {
        fprintf(stderr, "usage: csv-stats [-d DELIMITER] < file\n");
        return 2;
    }
    count = read_header(delimiter);
    rows = read_rows(delimiter, count);
    print(count, rows);
    return fflush(stdout) ? 1 : 0;
}
