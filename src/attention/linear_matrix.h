/// Matrices of the linear forms: the product, the transpose, and moving rows from and to storage, compiled once per
/// instruction set in linear_matrix.isa.cpp. Included by linear_*.isa.cpp only.
///
/// Matrices are row-major. Their rows are padded with zeros to whole vectors, and the leading dimension has one vector
/// more so that walking down a column does not hit the same few cache sets again and again.
#pragma once

#include "attention/lanes.h"
#include "attention/linear_kernel.h"

namespace rapt::attention::linear::RAPT_ISA {

using namespace rapt::attention::RAPT_ISA;

/// Which elements of a product take part, for matrices that are zero above a diagonal: element (i, j) is not when
/// j > i + diagonal.
enum class Shape {
  full,
  lower_result,  ///< c is such a matrix; its zeros need not be written
  lower_left,    ///< a is
  upper_left,    ///< a transposed is
};

/// A matrix and the elements from one of its rows to the next.
template <typename S>
struct Matrix {
  S* data;
  long ld;
};

/// The product c (+)= a b. Each element of c is summed over the depth in ascending order by one chain of multiply-adds
/// and then, when accumulating, added to c, whatever the tile it falls into.
template <typename S>
struct Product {
  Matrix<const S> a;  ///< [rows, depth], or [depth, rows] when transposed
  Matrix<const S> b;  ///< [depth, columns]
  Matrix<S> c;        ///< [rows, columns]
  long rows;
  long depth;
  long columns;  ///< rounded up to whole vectors, so b and c must have such rows
  bool transposed = false;
  bool accumulate = false;
  Shape shape = Shape::full;
  long diagonal = 0;
};
void multiply(const Product<float>& product);
void multiply(const Product<double>& product);

/// result[i, j] = source[j, i] for `rows` rows of `columns`; columns of the result after the last row up to a whole
/// vector are 0. Reads whole vectors of source rows.
void transpose(const float* source, long ld_source, long rows, long columns, float* result, long ld);
void transpose(const double* source, long ld_source, long rows, long columns, double* result, long ld);

/// Rows of storage: row j is at data + j * stride elements of dtype.
struct Stored {
  DType dtype;
  void* data;
  long stride;
};
/// result[j, i] = factor * row j of the source, element i.
void load_rows(const Stored& source, long rows, long d, float factor, float* result, long ld);
void load_rows(const Stored& source, long rows, long d, double factor, double* result, long ld);
/// Row j of the result = factors[j] (1 when factors is null) * factor * row j of the matrix.
void store_rows(const float* matrix, long ld, long rows, long d, const float* factors, float factor,
                const Stored& result);
void store_rows(const double* matrix, long ld, long rows, long d, const double* factors, double factor,
                const Stored& result);

/// Begins to fetch rows that will be read, or written.
void prefetch_rows(const Stored& rows, long count, long d, bool write);

}  // namespace rapt::attention::linear::RAPT_ISA
